//! The newest batches, checkpoints and errors of a run, and what its receivers do.
//!
//! Each list has a bound. What is older is in the program's log.

use crate::batch::Batch;
use crate::observe::event::{BatchSteps, ContextEvent, ContextListener};
use crate::observe::recovering::lineage::LineageReader;
use highwater_wal::disk::Clock;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How many of each are kept.
const MAX_BATCHES: usize = 600;
const MAX_CHECKPOINTS: usize = 100;
const MAX_ERRORS: usize = 100;

/// What has happened lately: [`ContextObserver::recent`](crate::ContextObserver::recent). The
/// newest come last. Times are by the wall clock, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Recent {
    /// The last 600 batches that were completed.
    pub batches: Vec<RecentBatch>,
    /// The last 100 checkpoints, and attempts at them that failed.
    pub checkpoints: Vec<RecentCheckpoint>,
    /// The last 100 errors. One that comes again and again is there once.
    pub errors: Vec<RecentError>,
    /// The receivers, by the names of their sources.
    pub receivers: BTreeMap<String, ReceiverStatus>,
    /// How far the batches are that were cut before the start, once one of them is complete.
    pub recovery: Option<RecoveryStatus>,
}

/// A batch that was completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentBatch {
    /// The batch.
    pub batch: Batch,
    /// When it was complete.
    pub at_ms: u64,
    /// Whether it ran for its state alone.
    pub replayed: bool,
    /// How many records it had, of all sources.
    pub records: u64,
    /// How long it waited after its cut.
    pub scheduling_delay: Duration,
    /// How long it ran, outputs included.
    pub took: Duration,
    /// What of that, and after it, each step took.
    pub steps: BatchSteps,
    /// How many batches a crash would have had to replay then ...
    pub lineage_batches: u64,
    /// ... and how many bytes of log, those not yet in a batch included.
    pub lineage_bytes: u64,
}

/// A checkpoint, or an attempt at one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentCheckpoint {
    /// The batch after which it was taken.
    pub batch: Batch,
    /// When it was published, or had failed.
    pub at_ms: u64,
    /// What was published, or why nothing was.
    pub result: Result<PublishedCheckpoint, String>,
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedCheckpoint {
    /// Its number.
    pub number: u64,
    /// Bytes of the files that were written for it.
    pub size_bytes: u64,
    /// Bytes of all files that it needs.
    pub total_bytes: u64,
    /// How many files these are.
    pub total_files: usize,
    /// How long it took to write and publish it.
    pub took: Duration,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentError {
    /// What it happened to: a batch, a source, an output, checkpoints, the context.
    pub place: String,
    /// The batch, if it was one's.
    pub batch: Option<Batch>,
    /// What happened, and what is done about it.
    pub message: String,
    /// When it happened first ...
    pub since_ms: u64,
    /// ... and last.
    pub at_ms: u64,
    /// So often it has happened without another error of the same place in between.
    pub times: u64,
}

/// What a receiver does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiverStatus {
    /// Whether it runs.
    pub state: ReceiverState,
    /// So often it has failed in this run.
    pub failures: u64,
    /// When it failed last, and why.
    pub last_error: Option<(u64, String)>,
}

/// Whether a receiver runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiverState {
    /// It receives.
    #[default]
    Running,
    /// It has failed, and begins again after a wait.
    Waiting,
    /// It has returned.
    Stopped,
}

/// How far the batches are that were cut before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryStatus {
    /// So many are complete.
    pub done: u64,
    /// So many there were at the start.
    pub of: u64,
    /// How long they took.
    pub took: Duration,
}

/// Notes what happens.
#[derive(Debug)]
pub(crate) struct RecentEvents {
    clock: Arc<dyn Clock>,
    lineage: Arc<LineageReader>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    batches: VecDeque<RecentBatch>,
    checkpoints: VecDeque<RecentCheckpoint>,
    errors: VecDeque<RecentError>,
    receivers: BTreeMap<String, ReceiverStatus>,
    recovery: Option<RecoveryStatus>,
    /// When batches began to run, by the monotonic clock.
    started: Duration,
}

impl RecentEvents {
    pub(crate) fn new(clock: Arc<dyn Clock>, lineage: Arc<LineageReader>) -> Self {
        Self {
            clock,
            lineage,
            inner: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Recent {
        let inner = self.inner.lock();
        Recent {
            batches: inner.batches.iter().copied().collect(),
            checkpoints: inner.checkpoints.iter().cloned().collect(),
            errors: inner.errors.iter().cloned().collect(),
            receivers: inner.receivers.clone(),
            recovery: inner.recovery,
        }
    }

    fn note_batch(&self, event: &ContextEvent) {
        if let ContextEvent::BatchCompleted {
            batch,
            replayed,
            records,
            scheduling_delay,
            took,
            steps,
        } = event
        {
            let lineage = self.lineage.after(Some(*batch));
            let noted = RecentBatch {
                batch: *batch,
                at_ms: self.clock.wall_ms(),
                replayed: *replayed,
                records: *records,
                scheduling_delay: *scheduling_delay,
                took: *took,
                steps: *steps,
                lineage_batches: lineage.depth,
                lineage_bytes: lineage.bytes_to_replay,
            };
            push(&mut self.inner.lock().batches, noted, MAX_BATCHES);
        }
    }

    fn note_checkpoint(&self, batch: Batch, result: Result<PublishedCheckpoint, String>) {
        let noted = RecentCheckpoint {
            batch,
            at_ms: self.clock.wall_ms(),
            result,
        };
        push(&mut self.inner.lock().checkpoints, noted, MAX_CHECKPOINTS);
    }

    fn note_error(&self, place: String, batch: Option<Batch>, message: String) {
        let at_ms = self.clock.wall_ms();
        let errors = &mut self.inner.lock().errors;
        let before = errors.iter_mut().rev().find(|error| error.place == place);
        match before {
            Some(same) if same.message == message => {
                (same.at_ms, same.batch) = (at_ms, batch);
                same.times += 1;
            }
            _ => {
                let noted = RecentError {
                    place,
                    batch,
                    message,
                    since_ms: at_ms,
                    at_ms,
                    times: 1,
                };
                push(errors, noted, MAX_ERRORS);
            }
        }
    }

    fn note_receiver(&self, source: &str, note: impl FnOnce(&mut ReceiverStatus)) {
        let mut inner = self.inner.lock();
        note(inner.receivers.entry(source.to_owned()).or_default());
    }

    /// Whatever is an error.
    fn note_failure(&self, event: &ContextEvent) {
        let (place, batch) = match event {
            ContextEvent::AttemptFailed(attempt) => ("batch".to_owned(), Some(attempt.batch)),
            ContextEvent::BatchFailed { batch, .. } => ("batch".to_owned(), Some(*batch)),
            ContextEvent::ReceiverFailed { source, .. } => (format!("source \"{source}\""), None),
            ContextEvent::OutputDelayed { output, batch, .. } => {
                (format!("output {output}"), Some(*batch))
            }
            ContextEvent::CheckpointFailed { batch, .. } => {
                ("checkpoints".to_owned(), Some(*batch))
            }
            ContextEvent::Stopped { error: Some(_) } => ("context".to_owned(), None),
            _ => return,
        };
        let message = match event {
            ContextEvent::AttemptFailed(attempt) => attempt.message.clone(),
            ContextEvent::BatchFailed { message, .. }
            | ContextEvent::ReceiverFailed { message, .. }
            | ContextEvent::OutputDelayed { message, .. }
            | ContextEvent::CheckpointFailed { message, .. } => message.clone(),
            ContextEvent::Stopped { error: Some(error) } => error.to_string(),
            _ => return,
        };
        self.note_error(place, batch, message);
    }
}

fn push<T>(queue: &mut VecDeque<T>, newest: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(newest);
}

impl ContextListener for RecentEvents {
    fn on_event(&self, event: &ContextEvent) {
        self.note_failure(event);
        match event {
            ContextEvent::Started => self.inner.lock().started = self.clock.now(),
            ContextEvent::BatchCompleted { .. } => self.note_batch(event),
            ContextEvent::RecoveryProgress { done, of } => {
                let now = self.clock.now();
                let mut inner = self.inner.lock();
                inner.recovery = Some(RecoveryStatus {
                    done: *done,
                    of: *of,
                    took: now.saturating_sub(inner.started),
                });
            }
            ContextEvent::CheckpointCompleted {
                number,
                batch,
                size_bytes,
                total_bytes,
                total_files,
                took,
                ..
            } => {
                let published = PublishedCheckpoint {
                    number: *number,
                    size_bytes: *size_bytes,
                    total_bytes: *total_bytes,
                    total_files: *total_files,
                    took: *took,
                };
                self.note_checkpoint(*batch, Ok(published));
            }
            ContextEvent::CheckpointFailed { batch, message } => {
                self.note_checkpoint(*batch, Err(message.clone()));
            }
            ContextEvent::ReceiverStarted { source } => {
                self.note_receiver(source, |status| status.state = ReceiverState::Running);
            }
            ContextEvent::ReceiverStopped { source } => {
                self.note_receiver(source, |status| status.state = ReceiverState::Stopped);
            }
            ContextEvent::ReceiverFailed {
                source, message, ..
            } => {
                let at_ms = self.clock.wall_ms();
                self.note_receiver(source, |status| {
                    status.state = ReceiverState::Waiting;
                    status.failures += 1;
                    status.last_error = Some((at_ms, message.clone()));
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::recovering::pace::PaceMeter;
    use highwater_wal::disk::{ManualClock, SimDisk};
    use highwater_wal::{Lsn, Wal};

    /// A sink that is down for an hour fails thousands of times: it hides no other error.
    #[test]
    fn an_error_that_comes_again_is_there_once() {
        let clock = Arc::new(ManualClock::new(1000));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let options = highwater_wal::Options::new().disk(Arc::new(SimDisk::new()));
        let lineage = LineageReader {
            checkpoints: Arc::default(),
            status: Arc::default(),
            pace: Arc::new(PaceMeter::new(Arc::clone(&shared))),
            wal: Arc::new(Wal::open_with("/log", options).unwrap()),
            replay_from: Lsn::ZERO,
            found: None,
            target: None,
        };
        let recent = RecentEvents::new(shared, Arc::new(lineage));
        let delayed = |output: &str, attempts: u64| ContextEvent::OutputDelayed {
            output: output.to_owned(),
            batch: Batch {
                id: 7,
                time_ms: 0,
                from: Lsn::ZERO,
                to: Lsn::ZERO,
            },
            phase: "staging",
            since_ms: 0,
            attempts,
            message: "no route".to_owned(),
            retry_in: Duration::ZERO,
        };
        for attempt in 1..=1000 {
            recent.on_event(&delayed("a", attempt));
            recent.on_event(&delayed("b", attempt));
            clock.advance(Duration::from_millis(10));
        }
        let error = |output: &str| RecentError {
            place: format!("output {output}"),
            batch: delayed(output, 0).batch_of_test(),
            message: "no route".to_owned(),
            since_ms: 1000,
            at_ms: 1000 + 9990,
            times: 1000,
        };
        assert_eq!(recent.now().errors, [error("a"), error("b")]);
        for n in 0..300 {
            recent.note_error("context".to_owned(), None, format!("error {n}"));
        }
        let errors = recent.now().errors;
        assert_eq!(
            (errors.len(), &*errors[0].message),
            (MAX_ERRORS, "error 200")
        );
    }

    impl ContextEvent {
        fn batch_of_test(&self) -> Option<Batch> {
            match self {
                Self::OutputDelayed { batch, .. } => Some(*batch),
                _ => None,
            }
        }
    }
}
