//! How fast batches run, and how fast they come: measured, for estimates of what a recovery costs.

use crate::observe::event::{ContextEvent, ContextListener};
use highwater_wal::disk::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// What one more batch leaves of the weight of those before it: about the last twenty count.
const KEPT: f64 = 0.95;

/// How fast batches run, and how fast they come. Times are in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pace {
    /// What a batch costs that has no records.
    pub(crate) batch_s: f64,
    /// What a byte of log costs besides that.
    pub(crate) byte_s: f64,
    /// Log bytes of a batch with records.
    pub(crate) batch_bytes: f64,
    /// Batches that come in a second ...
    pub(crate) batches_per_s: f64,
    /// ... and their log bytes.
    pub(crate) bytes_per_s: f64,
}

impl Pace {
    /// What it takes to run so many batches with so many bytes of log, in seconds.
    pub(crate) fn replay_s(&self, batches: f64, bytes: f64) -> f64 {
        batches * self.batch_s + bytes * self.byte_s
    }
}

/// Measures the pace. A batch that failed, or that waited for an output, says nothing of it.
#[derive(Debug)]
pub(crate) struct PaceMeter {
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

/// What counts of the batches so far.
#[derive(Debug, Default)]
struct Seen {
    /// Batches without records.
    empty: Sums,
    /// Batches with records.
    filled: Sums,
    /// All of them; the time is from the end of one to the end of the next.
    all: Sums,
    /// When the last one ended.
    last: Option<Duration>,
    /// Whether something else than the work of the running batch takes time.
    is_disturbed: bool,
}

/// Sums of which the newest batches are most.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    batches: f64,
    bytes: f64,
    seconds: f64,
}

impl Sums {
    fn add(&mut self, bytes: u64, took: Duration) {
        self.batches = self.batches * KEPT + 1.0;
        self.bytes = self.bytes * KEPT + bytes as f64;
        self.seconds = self.seconds * KEPT + took.as_secs_f64();
    }

    /// `of` for one of `by`; 0 where there is none.
    fn per(of: f64, by: f64) -> f64 {
        if by > 0.0 { of / by } else { 0.0 }
    }
}

impl PaceMeter {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            seen: Mutex::default(),
        }
    }

    /// The pace, once a batch with records was run.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let seen = self.seen.lock();
        let Seen {
            empty, filled, all, ..
        } = &*seen;
        if filled.batches == 0.0 {
            return None;
        }
        let batch_s = Sums::per(empty.seconds, empty.batches);
        let rest = (filled.seconds - filled.batches * batch_s).max(0.0);
        Some(Pace {
            batch_s,
            byte_s: Sums::per(rest, filled.bytes),
            batch_bytes: Sums::per(filled.bytes, filled.batches),
            batches_per_s: Sums::per(all.batches, all.seconds),
            bytes_per_s: Sums::per(all.bytes, all.seconds),
        })
    }
}

impl ContextListener for PaceMeter {
    fn on_event(&self, event: &ContextEvent) {
        match event {
            ContextEvent::BatchCompleted {
                batch,
                records,
                took,
                ..
            } => {
                let now = self.clock.now();
                let bytes = batch.to.bytes_since(batch.from);
                let mut seen = self.seen.lock();
                let last = seen.last.replace(now);
                if std::mem::take(&mut seen.is_disturbed) {
                    return;
                }
                if let Some(last) = last {
                    seen.all.add(bytes, now.saturating_sub(last));
                }
                match records {
                    0 => seen.empty.add(bytes, *took),
                    _ => seen.filled.add(bytes, *took),
                }
            }
            ContextEvent::AttemptFailed(_) | ContextEvent::OutputDelayed { .. } => {
                self.seen.lock().is_disturbed = true;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::observe::event::BatchSteps;
    use crate::observe::failed_attempt::FailedAttempt;
    use highwater_wal::Lsn;
    use highwater_wal::disk::ManualClock;

    fn close(found: f64, expected: f64) {
        let near = (found - expected).abs() <= 1e-9 * expected.abs();
        assert!(near, "{found} is not {expected}");
    }

    #[test]
    fn batches_without_records_tell_what_a_batch_costs_and_the_others_what_a_byte_costs() {
        let clock = Arc::new(ManualClock::new(0));
        let meter = PaceMeter::new(Arc::<ManualClock>::clone(&clock));
        let batch = |to: u64| Batch {
            id: 1,
            time_ms: 0,
            from: Lsn::ZERO,
            to: Lsn::new(to),
        };
        let run = |records: u64, bytes: u64, took_ms: u64| {
            clock.advance(Duration::from_millis(1000));
            meter.on_event(&ContextEvent::BatchCompleted {
                batch: batch(bytes),
                replayed: false,
                records,
                scheduling_delay: Duration::ZERO,
                took: Duration::from_millis(took_ms),
                steps: BatchSteps::default(),
            });
        };
        run(0, 0, 10);
        assert_eq!(meter.pace(), None, "no batch had records");
        run(5, 1000, 60);
        let pace = meter.pace().unwrap();
        close(pace.batch_s, 0.010);
        close(pace.byte_s, 0.050 / 1000.0);
        close(pace.batch_bytes, 1000.0);
        close(pace.batches_per_s, 1.0);
        close(pace.bytes_per_s, 1000.0);
        close(pace.replay_s(3.0, 2000.0), 0.130);
        // What an output, or a failed attempt, takes is no measure of a replay.
        meter.on_event(&ContextEvent::AttemptFailed(FailedAttempt {
            batch: batch(0),
            attempt: 1,
            max_failures: 3,
            waits_for_source: false,
            message: String::new(),
            next_in: Duration::ZERO,
        }));
        run(5, 1000, 60_000);
        close(meter.pace().unwrap().byte_s, 0.050 / 1000.0);
        // The newest batches are most of it.
        (0..200).for_each(|_| run(5, 2000, 30));
        let pace = meter.pace().unwrap();
        assert!((pace.byte_s - 0.020 / 2000.0).abs() < 1e-8, "{pace:?}");
        assert!((pace.batch_bytes - 2000.0).abs() < 1.0, "{pace:?}");
        // As dear as one with records: a byte costs nothing besides.
        (0..200).for_each(|_| run(0, 0, 40));
        close(meter.pace().unwrap().byte_s, 0.0);
    }
}
