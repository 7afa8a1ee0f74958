//! Sessions by timeout: a visitor who is quiet for five minutes has left. In between the program is
//! killed; it still knows who was there, and since when. `cargo run --example sessions`
use highwater::{BatchMode, disk::ManualClock, prelude::*};
use std::{sync::Arc, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
const CLICKS: &str = "0 ada /, 2 ada /log, 3 bob /, 5 ada /guide, 9 bob /late, 16 ada /";

fn visits(clicks: &DStream<(String, String)>) -> DStream<String> {
    let spec = StateSpec::new(
        |batch: &Batch, who: &String, page, visit: &mut KeyState<'_, _>| {
            if let Some(page) = page {
                let new = || (batch.time_ms, String::new());
                let (since, pages): (u64, String) = visit.get().cloned().unwrap_or_else(new);
                visit.update((since, format!("{pages} {page}")));
                return None;
            }
            let (since, pages) = visit.get()?; // the last call: the visitor has timed out
            let minutes = (batch.time_ms - since) / 60_000;
            Some(format!(
                "{who} came {minutes} minutes ago, and has left:{pages}"
            ))
        },
    );
    let visits = clicks.map_with_state_spec("visits", spec.timeout(5 * MINUTE));
    visits.flat_map(|visit| visit)
}

fn main() -> Result<(), BoxError> {
    let (dir, clock) = (tempfile::tempdir()?, Arc::new(ManualClock::new(0)));
    for life in [0..8, 8..24] {
        println!("minute {}: the program starts", life.start);
        let context = StreamingContext::builder(dir.path())
            .clock(clock.clone())
            .batches(BatchMode::Manual)
            .batch_interval(MINUTE)
            .get_or_create(|ssc| {
                visits(&ssc.input("clicks")).for_each_batch("left", |batch, visits| {
                    let minute = batch.time_ms / 60_000;
                    visits.iter().for_each(|v| println!("minute {minute}: {v}"));
                });
                Ok(())
            })?;
        context.start()?;
        for minute in life {
            for click in CLICKS.split(", ") {
                if let [at, who, page] = click.split(' ').collect::<Vec<_>>()[..]
                    && at == minute.to_string()
                {
                    let click = (who.to_owned(), page.to_owned());
                    context.input("clicks")?.send(&click)?.wait()?;
                }
            }
            clock.advance(MINUTE);
            context.run_batch()?;
        }
    } // the context is dropped, and nothing is saved: what a crash leaves is enough
    Ok(())
}
