//! What the program sends is written into the log.
use highwater::prelude::*;

#[derive(Clone, Debug)]
struct Order {
    cents: u64,
}

fn program(ssc: &StreamScope) {
    ssc.input::<Order>("orders").map(|order| order.cents).print();
}

fn main() {
    let _ = program;
}
