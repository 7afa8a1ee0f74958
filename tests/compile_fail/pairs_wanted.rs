//! Operators by key need a stream of pairs.
use highwater::prelude::*;

fn program(ssc: &StreamScope) {
    ssc.input::<String>("words").reduce_by_key(|a, b| a + b).print();
}

fn main() {
    let _ = program;
}
