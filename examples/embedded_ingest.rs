//! Highwater inside a program: several threads hand in orders and go on when they are durable;
//! totals per customer are kept across runs and crashes.
//!
//! `cargo run --example embedded_ingest`; run it twice and the totals go on.

use highwater::prelude::*;
use std::time::Duration;

/// Customer and amount in cents. Any type that derives serde's traits can be sent.
type Order = (String, u64);

fn main() -> highwater::Result<()> {
    let context = StreamingContext::builder("target/embedded_ingest.d")
        .batch_interval(Duration::from_millis(200))
        .get_or_create(|ssc| {
            ssc.input::<Order>("orders")
                .update_state_by_key("totals", |_customer, new, total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
                .print();
            Ok::<(), highwater::BoxError>(())
        })?;
    context.start()?;

    let orders = context.input::<Order>("orders")?;
    std::thread::scope(|scope| {
        let tills: Vec<_> = ["ada", "grace", "edsger"]
            .into_iter()
            .map(|customer| {
                let orders = orders.clone();
                scope.spawn(move || {
                    let order = |cents| (customer.to_owned(), cents);
                    // One flush serves all waiting records: send first, wait afterwards.
                    let acks: highwater::Result<Vec<_>> =
                        (1..=100).map(|cents| orders.send(&order(cents))).collect();
                    acks?
                        .into_iter()
                        .try_for_each(|ack| ack.wait().map(|_lsn| ()))
                })
            })
            .collect();
        tills
            .into_iter()
            .try_for_each(|till| till.join().expect("no thread panics"))
    })?;
    println!("300 orders are durable");

    context.stop(StopMode::Graceful)?;
    println!("{}", context.lineage());
    Ok(())
}
