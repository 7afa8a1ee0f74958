//! Closures run on worker threads.
use highwater::prelude::*;
use std::rc::Rc;

fn program(ssc: &StreamScope) {
    let stop_words = Rc::new(vec!["the".to_owned()]);
    ssc.input::<String>("words")
        .filter(move |word| !stop_words.contains(word))
        .print();
}

fn main() {
    let _ = program;
}
