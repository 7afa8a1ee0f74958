//! Values of a keyed operator are shuffled.
use highwater::prelude::*;

#[derive(Clone, Debug)]
struct Visit;

fn program(ssc: &StreamScope) {
    ssc.input::<String>("users")
        .map(|user| (user, Visit))
        .group_by_key()
        .print();
}

fn main() {
    let _ = program;
}
