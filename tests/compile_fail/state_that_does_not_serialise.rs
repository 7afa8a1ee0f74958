//! State goes into checkpoints.
use highwater::prelude::*;

#[derive(Clone)]
struct Total(u64);

fn program(ssc: &StreamScope) {
    ssc.input::<(String, u64)>("orders")
        .update_state_by_key("totals", |_, new, total: &mut Option<Total>| {
            *total = Some(Total(new.iter().sum()));
        })
        .count()
        .print();
}

fn main() {
    let _ = program;
}
