//! A sale is acknowledged, and then seen: `at_least` waits until the record at the position of an
//! acknowledgement is in the state. `cargo run --release --example ask_state` sells and asks, stops
//! without a last checkpoint, and asks again.

use highwater::prelude::*;
use std::path::Path;
use std::time::Duration;

type Sale = (String, u64);

fn open(dir: &Path) -> highwater::Result<StreamingContext> {
    StreamingContext::builder(dir)
        .batch_interval(Duration::from_millis(20))
        .get_or_create(|ssc| {
            ssc.input::<Sale>("sales")
                .update_state_by_key_changed(
                    "sold",
                    |_item: &String, sales: &[u64], sold: &mut StateGuard<u64>| {
                        *sold.get_or_insert_with(|| 0) += sales.iter().sum::<u64>();
                    },
                )
                .for_each_batch("nowhere", |_batch, _sold| ());
            Ok(())
        })
}

fn main() -> Result<(), BoxError> {
    let dir = std::env::temp_dir().join(format!("highwater-ask-{}", std::process::id()));
    let mut newest = None;
    for life in 1..=2 {
        let context = open(&dir)?;
        context.start()?;
        let sold = context.state::<String, u64>("sold")?;
        let sales = context.input::<Sale>("sales")?;
        let before = sold.get("tea")?; // waits for the end of a replay
        assert!(before.batch >= newest, "no answer goes back");
        for _ in 0..10 {
            let sale = sales.send(&("tea".to_owned(), 1))?;
            let position = sale.lsn();
            sale.wait()?; // it is on the disk
            let answer = sold.at_least(position)?.get("tea")?;
            println!("{:?} sold as of batch {:?}", answer.value, answer.batch);
            newest = answer.batch;
        }
        assert_eq!(sold.get("tea")?.value, Some(10 * life));
        context.stop(StopMode::Immediate)?; // no last batch, no last checkpoint
    }
    Ok(())
}
