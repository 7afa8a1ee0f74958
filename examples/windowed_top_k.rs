//! The top three of the last ten seconds, every two seconds: a window that costs what comes and
//! what leaves, and a sort of what it has. `cargo run --example windowed_top_k`
use highwater::disk::ManualClock;
use highwater::prelude::*;
use highwater::{BatchMode, Result};
use std::{cmp::Reverse, sync::Arc, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn top(k: usize, words: &DStream<String>) -> DStream<(String, u64)> {
    words
        .map(|word| (word, 1_u64))
        .reduce_by_key_and_window_inverse_with_filter(
            "recent",
            |all, new| all + new,
            |all, gone| all - gone,
            10 * SECOND,
            2 * SECOND,
            |_word, count| *count > 0, // a word that is not said any more is forgotten
        )
        .transform(move |mut counts, _batch| {
            counts.sort_by_key(|(word, count)| (Reverse(*count), word.clone()));
            counts.truncate(k);
            counts
        })
}

fn main() -> Result<()> {
    let clock = Arc::new(ManualClock::new(0));
    let context = StreamingContext::builder("target/windowed_top_k.d")
        .clock(clock.clone())
        .batches(BatchMode::Manual)
        .batch_interval(SECOND)
        .get_or_create(|ssc| {
            top(3, &ssc.input("words")).for_each_batch("chart", |batch, top| {
                println!("{} s", batch.time_ms / 1000);
                for (place, (word, count)) in top.iter().enumerate() {
                    let bar = "#".repeat(usize::try_from(*count).unwrap_or(0));
                    println!("  {}. {word:<8} {bar} {count}", place + 1);
                }
            });
            Ok(())
        })?;
    context.start()?;
    let words = context.input::<String>("words")?;
    let seasons = ["snow", "blossom", "sun", "leaves"];
    for second in 0..24 {
        clock.advance(SECOND);
        // Each season fades into the next one.
        for (season, at) in seasons.iter().zip([3_i32, 9, 15, 21]) {
            for _ in 0..(5 - (second - at).abs()).max(0) {
                let _not_awaited = words.send(&season.to_string())?;
            }
        }
        context.run_batch()?;
    }
    context.stop(StopMode::Graceful)
}
