//! From the source to the output, while lines come at a steady rate.

use crate::bench::corpus::Corpus;
use crate::bench::report::{Latency, rounded};
use crate::fail::OrFail;
use highwater::disk::{Clock, OsClock};
use highwater::wal::inspect::Histogram;
use highwater::{
    BoxError, CheckpointPolicy, Line, Receiver, SourceContext, StopMode, StreamingContext,
};
use highwater_log::outcome::Result;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A frame is stored whenever so much time has passed.
const PERIOD: Duration = Duration::from_millis(2);
/// The first line of a frame begins with this and the time at which it was made.
const STAMP: char = '@';
/// The first part of a run is not measured: threads start, tables grow.
const WARM_UP: u32 = 10;

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) workers: NonZeroUsize,
    pub(crate) batch_interval: Duration,
    pub(crate) lines_per_second: f64,
    /// How long the lines come.
    pub(crate) length: Duration,
}

/// Stores lines at a steady rate, durably, frame by frame.
struct Steady {
    corpus: Arc<Corpus>,
    clock: Arc<OsClock>,
    load: Load,
    done: std::sync::mpsc::Sender<()>,
}

impl Receiver for Steady {
    fn run(&mut self, source: &SourceContext) -> std::result::Result<(), BoxError> {
        let start = self.clock.now();
        let mut lines = self.corpus.lines().cycle();
        let mut sent = 0_u64;
        loop {
            let elapsed = self.clock.now().saturating_sub(start);
            if elapsed >= self.load.length || source.is_stopping() {
                break;
            }
            let due = due(self.load.lines_per_second, elapsed);
            if due > sent {
                let stamp = format!("{STAMP}{}", self.clock.now().as_nanos());
                let count = usize::try_from(due - sent)?;
                let mut frame: Vec<&[u8]> = Vec::with_capacity(count + 1);
                frame.push(stamp.as_bytes());
                for line in lines.by_ref().take(count) {
                    frame.push(line.as_bytes());
                }
                source.sync_to(source.append(&frame)?)?;
                sent = due;
            }
            let _stops = source.rest(PERIOD);
        }
        self.done.send(())?;
        Ok(())
    }
}

/// How many lines should have been sent after `elapsed`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of lines, which a float holds exactly"
)]
fn due(lines_per_second: f64, elapsed: Duration) -> u64 {
    (lines_per_second * elapsed.as_secs_f64()) as u64
}

/// Counts words in `dir` under `load` and measures how old each frame is when its batch is output.
pub(crate) fn measure(dir: &Path, corpus: &Arc<Corpus>, load: Load) -> Result<Latency> {
    let clock = Arc::new(OsClock::new());
    let (done, finished) = std::sync::mpsc::channel();
    let steady = Steady {
        corpus: Arc::clone(corpus),
        clock: Arc::clone(&clock),
        load,
        done,
    };
    let ages = Arc::new(Mutex::new(Histogram::new()));
    let (noted, by) = (Arc::clone(&ages), Arc::clone(&clock));
    let warm = clock.now().saturating_add(load.length / WARM_UP).as_nanos();
    let context = StreamingContext::builder(dir)
        .application("highwater-bench")
        .batch_interval(load.batch_interval)
        .checkpoint(CheckpointPolicy::every_batches(1_000_000))
        .workers(load.workers)
        .get_or_create(move |ssc| {
            let lines = ssc.source("steady", "lines", Arc::new(Line::decode), steady);
            let words = lines.flat_map_into(|line: Line, out| {
                if !line.starts_with(STAMP) {
                    let words = line.split_ascii_whitespace();
                    words.for_each(|word| out.emit((word.to_owned(), 1_u64)));
                }
            });
            words
                .update_state_by_key_changed("counts", |_, new, total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
                .for_each_batch("counts of the batch", |_, _| ());
            // Outputs run in the order of their definition: the counts are out when this is called.
            let stamps = lines.flat_map(|line: Line| line.strip_prefix(STAMP).map(str::to_owned));
            stamps.for_each_batch("ages", move |_, stamps: Vec<String>| {
                let now = by.now().as_nanos();
                let mut ages = noted.lock();
                for stamp in stamps.iter().filter_map(|s| s.parse::<u128>().ok()) {
                    if stamp >= warm {
                        ages.add(u64::try_from(now.saturating_sub(stamp)).unwrap_or(u64::MAX));
                    }
                }
            });
            Ok(())
        })
        .or_fail()?;
    context.start().or_fail()?;
    let _ended = finished.recv();
    context.stop(StopMode::Graceful).or_fail()?;
    let ages = ages.lock();
    let millis =
        |nanos: Option<u64>| rounded(Duration::from_nanos(nanos.unwrap_or(0)).as_secs_f64() * 1e3);
    Ok(Latency {
        workers: load.workers.get(),
        batch_interval_ms: u64::try_from(load.batch_interval.as_millis()).unwrap_or(u64::MAX),
        lines_per_second: load.lines_per_second.round(),
        p50_ms: millis(ages.quantile(0.5)),
        p99_ms: millis(ages.quantile(0.99)),
        max_ms: millis(ages.max()),
    })
}
