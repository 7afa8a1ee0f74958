//! A closure lives as long as the program: it owns what it uses.
use highwater::prelude::*;

fn program(ssc: &StreamScope) {
    let stop_words = vec!["the".to_owned()];
    ssc.input::<String>("words")
        .filter(|word| !stop_words.contains(word))
        .print();
}

fn main() {
    let _ = program;
}
