//! A word count with a page. Ends when Enter is pressed, or with its input.
//!
//! Run it with `cargo run --release --example page`.

use highwater::prelude::*;
use highwater_ui::{Ui, UiOptions};
use std::time::Duration;

const LINES: [&str; 3] = [
    "to be or not to be",
    "that is the question",
    "whether tis nobler",
];

fn main() -> Result<(), BoxError> {
    let dir = std::env::temp_dir().join(format!("highwater-page-{}", std::process::id()));
    let context = StreamingContext::builder(&dir)
        .application("words")
        .batch_interval(Duration::from_millis(200))
        .checkpoint(CheckpointPolicy::every_batches(25))
        .get_or_create(|ssc| {
            ssc.input::<String>("lines")
                .flat_map_into(|line: String, out| {
                    line.split_whitespace().for_each(|w| out.emit(w.to_owned()))
                })
                .map(|word| (word, 1_u64))
                .update_state_by_key("counts", |_, new, total: &mut StateGuard<u64>| {
                    *total.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
                })
                .for_each_batch("newest", |_, _| ());
            Ok(())
        })?;
    let page = context.ui("127.0.0.1:0", UiOptions::new())?; // 4040, where nothing else is there
    context.start()?;
    println!("see http://{} and press Enter to end", page.local_addr());
    let lines = context.input::<String>("lines")?;
    let sender = std::thread::spawn(move || {
        // Each send waits until its line is on the disk.
        for line in LINES.iter().cycle() {
            let sent = lines.send(&(*line).to_owned()).and_then(|ack| ack.wait());
            if sent.is_err() {
                return; // the context has stopped
            }
        }
    });
    std::io::stdin().read_line(&mut String::new())?;
    context.stop(StopMode::Graceful)?;
    let _ = sender.join();
    page.stop();
    Ok(())
}
