//! `key_by_ref` takes borrowed keys.
use highwater::prelude::*;

fn program(ssc: &StreamScope) {
    ssc.input::<String>("lines")
        .key_by_ref::<str, u64>(|line, out| out.emit(line.to_uppercase(), 1))
        .reduce(|total, n| *total += n)
        .cloned()
        .print();
}

fn main() {
    let _ = program;
}
