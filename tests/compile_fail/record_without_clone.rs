//! A record that cannot be copied to a second reader.
use highwater::prelude::*;

struct Order {
    cents: u64,
}

fn program(ssc: &StreamScope) {
    ssc.socket_listen("lines", "127.0.0.1:0")
        .map(|line: Line| Order { cents: line.len() as u64 })
        .map(|order| order.cents)
        .print();
}

fn main() {
    let _ = program;
}
