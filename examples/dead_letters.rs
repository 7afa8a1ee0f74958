//! A bad record does not end the world: orders that cannot be read are put aside. Later the program
//! can read them, and they are replayed, each exactly once.
//!
//! `cargo run --example dead_letters`; then `highwater dead-letters list target/dead_letters.d`.

use highwater::disk::{Disk, OsDisk};
use highwater::prelude::*;
use highwater::{BatchMode, DeadLetterFilter, read_dead_letters};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const DIR: &str = "target/dead_letters.d";

fn main() -> highwater::Result<()> {
    // What a new version of the program would bring: it takes amounts such as `12,50`.
    let knows_commas = Arc::new(AtomicBool::new(false));
    let knows = Arc::clone(&knows_commas);
    let context = StreamingContext::builder(DIR)
        .batches(BatchMode::Manual)
        .get_or_create(move |ssc| {
            ssc.input::<(String, String)>("orders")
                .on_error(ErrorPolicy::DeadLetter)
                .try_map_values(move |amount| match knows.load(Ordering::Relaxed) {
                    true => amount.replace(',', ".").parse::<f64>(),
                    false => amount.parse::<f64>(),
                })
                .named("read amounts")
                .update_state_by_key("totals", |_, new: &[f64], total: &mut Option<f64>| {
                    *total = Some(total.unwrap_or(0.0) + new.iter().sum::<f64>());
                })
                .print();
            Ok::<(), BoxError>(())
        })?;
    context.start()?;
    let orders = context.input::<(String, String)>("orders")?;
    for (customer, amount) in [("ada", "3.20"), ("grace", "12,50"), ("ada", "1.80")] {
        let order = (customer.to_owned(), amount.to_owned());
        orders.send(&order)?.wait()?;
    }
    context.run_batch()?;

    let (disk, all) = (OsDisk::new(), DeadLetterFilter::all());
    let disk: Arc<dyn Disk> = Arc::new(disk);
    read_dead_letters(&disk, DIR, &all, |letter| {
        println!("dead letter {}: {}", letter.id, letter.error);
        Ok(())
    })?;
    knows_commas.store(true, Ordering::Relaxed);
    println!("{} to be replayed", context.replay_dead_letters(&all)?);
    context.run_batch()?;
    context.stop(StopMode::Graceful)
}
