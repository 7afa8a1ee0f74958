//! Records move between worker threads.
use highwater::prelude::*;
use std::rc::Rc;

fn program(ssc: &StreamScope) {
    ssc.input::<String>("words").map(|word| Rc::new(word)).print();
}

fn main() {
    let _ = program;
}
