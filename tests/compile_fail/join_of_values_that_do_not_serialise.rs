//! Values that are joined go from worker to worker.
use highwater::prelude::*;

#[derive(Clone)]
struct Price {
    cents: u64,
}

fn program(ssc: &StreamScope) {
    let orders = ssc.input::<(u64, u64)>("orders");
    let prices = ssc.input::<(u64, u64)>("prices").map_values(|cents| Price { cents });
    orders
        .left_outer_join(&prices)
        .map_values(|(_, price)| price.map(|price| price.cents))
        .print();
}

fn main() {
    let _ = program;
}
