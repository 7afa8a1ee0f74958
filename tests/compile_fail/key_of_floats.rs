//! Floating-point numbers are no keys.
use highwater::prelude::*;

fn program(ssc: &StreamScope) {
    ssc.input::<(f64, u64)>("readings")
        .reduce_by_key(|a, b| a + b)
        .print();
}

fn main() {
    let _ = program;
}
