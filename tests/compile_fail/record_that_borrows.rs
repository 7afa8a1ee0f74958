//! A record may not borrow from the record that it is made of.
use highwater::prelude::*;

fn program(ssc: &StreamScope) {
    ssc.input::<String>("lines")
        .flat_map(|line| line.split(' ').collect::<Vec<_>>())
        .print();
}

fn main() {
    let _ = program;
}
