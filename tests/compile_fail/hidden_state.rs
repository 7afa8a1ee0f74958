//! A closure may not keep state of its own: after a crash it would be gone.
use highwater::prelude::*;

fn program(ssc: &StreamScope) {
    let mut seen = 0_u64;
    ssc.input::<String>("lines")
        .map(move |line| {
            seen += 1;
            (seen, line)
        })
        .print();
}

fn main() {
    let _ = program;
}
