//! What streams are joined by must be a key.
use highwater::prelude::*;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Customer {
    number: u64,
}

fn program(ssc: &StreamScope) {
    let orders = ssc.input::<(Customer, u64)>("orders");
    let payments = ssc.input::<(Customer, u64)>("payments");
    orders.join(&payments).count().print();
}

fn main() {
    let _ = program;
}
