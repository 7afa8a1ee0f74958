//! A union is of streams of one type.
use highwater::prelude::*;

fn program(ssc: &StreamScope) {
    let words = ssc.input::<String>("words");
    let numbers = ssc.input::<u64>("numbers");
    words.union(&numbers).print();
}

fn main() {
    let _ = program;
}
