//! The events of a context: one stream, which every observer reads.

use crate::batch::Batch;
use crate::error::Error;
use crate::observe::failed_attempt::FailedAttempt;
use crate::panics;
use highwater_wal::Lsn;
use parking_lot::RwLock;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

/// Where a context is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContextState {
    /// Built; sources take data into the log, no batch runs yet.
    #[default]
    Initialized,
    /// Batches run.
    Active,
    /// Over, by [`StreamingContext::stop`](crate::StreamingContext::stop) or by an error. It cannot
    /// be started again.
    Stopped,
}

/// How long each step of a batch took. What the driver did besides is in none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchSteps {
    /// Reading it and running its operators, until every worker was done; attempts that failed
    /// included. Where batches follow each other closely the workers began it while the one before
    /// was committed: then this is what was left to wait for.
    pub run: Duration,
    /// Its outputs wrote their parts, not visible yet.
    pub stage: Duration,
    /// The log took in that it is committed, durably where that is needed.
    pub commit: Duration,
    /// Its outputs made their parts visible.
    pub publish: Duration,
    /// A checkpoint that was taken after it kept the driver busy. Not part of `took`.
    pub checkpoint: Option<Duration>,
}

impl BatchSteps {
    /// Each step with its name, in their order.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, Duration)> {
        let mut all = vec![
            ("run", self.run),
            ("stage", self.stage),
            ("commit", self.commit),
            ("publish", self.publish),
        ];
        all.extend(self.checkpoint.map(|took| ("checkpoint", took)));
        all
    }
}

/// Something that happened in a context: for [`Builder::listener`](crate::Builder::listener). Its
/// text says it in words.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ContextEvent {
    /// Batches run from now on.
    Started,
    /// The context has stopped.
    Stopped {
        /// Why, if that was an error.
        error: Option<Arc<Error>>,
    },
    /// A batch that was cut before the start is complete: its state is restored, and its outputs
    /// are published.
    RecoveryProgress {
        /// So many are.
        done: u64,
        /// So many there were at the start.
        of: u64,
    },
    /// A receiver begins, at the start or after a failure.
    ReceiverStarted {
        /// Name of its source.
        source: String,
    },
    /// A receiver has failed. It is started again.
    ReceiverFailed {
        /// Name of its source.
        source: String,
        /// Why.
        message: String,
        /// The time until it is started again.
        restarts_in: Duration,
    },
    /// A receiver has returned, and is not started again.
    ReceiverStopped {
        /// Name of its source.
        source: String,
    },
    /// The cut of a batch is durable; the batch waits for its turn. Empty batches between two cuts
    /// are not announced.
    BatchSubmitted {
        /// The batch.
        batch: Batch,
    },
    /// A batch has its turn.
    BatchStarted {
        /// The batch.
        batch: Batch,
    },
    /// A batch is complete; its outputs, if it has any, are published.
    BatchCompleted {
        /// The batch.
        batch: Batch,
        /// Whether it was run for its state alone: its outputs were committed before the start.
        replayed: bool,
        /// How many records it had, of all sources.
        records: u64,
        /// How long it waited after its cut; zero for batches that were cut before the start.
        scheduling_delay: Duration,
        /// How long it ran, outputs included.
        took: Duration,
        /// What of that, and after it, each step took.
        steps: BatchSteps,
    },
    /// An operator has refused records of a batch, which is committed without them: see
    /// [`DStream::on_error`](crate::DStream::on_error).
    RecordsRefused {
        /// The batch.
        batch: Batch,
        /// Name of the operator, or its kind and its number among those of its kind.
        operator: String,
        /// Records that were left out.
        skipped: u64,
        /// Records that were put aside.
        dead_letters: u64,
    },
    /// In a program with several workers, a key of a stateful operator has at least half of the
    /// values that one worker got in a batch, and at least 100,000. That worker does its work
    /// alone.
    HotKey {
        /// The batch.
        batch: Batch,
        /// The operator.
        operator: String,
        /// The key, shortened if it is long.
        key: String,
        /// Its values.
        values: u64,
        /// The values of all keys of that worker.
        of: u64,
    },
    /// Back-pressure lets a source be faster from now on, or slower.
    RateChanged {
        /// Name of the source.
        source: String,
        /// Its rate.
        records_per_second: u64,
    },
    /// An attempt at a batch failed; another one follows.
    AttemptFailed(FailedAttempt),
    /// A batch failed; the context stops.
    BatchFailed {
        /// The batch.
        batch: Batch,
        /// Why.
        message: String,
    },
    /// An output has a batch, visibly.
    OutputCompleted {
        /// Name and kind of the output.
        output: String,
        /// The batch.
        batch: Batch,
        /// How long staging and publishing took, waits included.
        took: Duration,
    },
    /// A sink has failed; the batch waits and it is tried again.
    OutputDelayed {
        /// Name and kind of the output.
        output: String,
        /// The batch.
        batch: Batch,
        /// What it was doing: staging or publishing.
        phase: &'static str,
        /// When it failed first, by the wall clock, in milliseconds since the Unix epoch.
        since_ms: u64,
        /// So often it has failed.
        attempts: u64,
        /// Why.
        message: String,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// A sink that had failed goes on.
    OutputResumed {
        /// Name and kind of the output.
        output: String,
        /// The batch.
        batch: Batch,
        /// So often it had failed.
        attempts: u64,
    },
    /// A checkpoint is being written.
    CheckpointStarted {
        /// The batch after which it was taken.
        batch: Batch,
    },
    /// A checkpoint is published.
    CheckpointCompleted {
        /// Its number.
        number: u64,
        /// The batch after which it was taken.
        batch: Batch,
        /// Bytes of the files that were written for it.
        size_bytes: u64,
        /// Bytes of all files that it needs; those of earlier checkpoints are among them.
        total_bytes: u64,
        /// How many files these are, its manifest included.
        total_files: usize,
        /// What copies of states took in memory at most, until they were written, in bytes: an
        /// estimate.
        memory_bytes: u64,
        /// How long it took to write and publish it.
        took: Duration,
        /// How long it would take to decode all states, as far as that was seen when what was
        /// written was read back.
        load_time: Duration,
    },
    /// A checkpoint could not be taken; the log is kept instead.
    CheckpointFailed {
        /// The batch after which it was taken.
        batch: Batch,
        /// Why.
        message: String,
    },
    /// The log was truncated: no checkpoint that is kept needs what was before.
    LogTruncated {
        /// The first position that is kept; the segment that holds it stays as a whole.
        before: Lsn,
    },
}

impl ContextEvent {
    /// What there is to say of records.
    fn write_of_records(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecordsRefused {
                batch,
                operator,
                skipped,
                dead_letters,
            } => write!(
                f,
                "{operator} refused {skipped} records of {batch}, and put {dead_letters} aside"
            ),
            Self::HotKey {
                batch,
                operator,
                key,
                values,
                of,
            } => write!(
                f,
                "key {key} has {values} of the {of} values that a worker got for {operator} in {batch}"
            ),
            _ => Ok(()),
        }
    }

    /// The text of what happened to a source.
    fn write_of_source(&self, source: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReceiverStarted { .. } => write!(f, "the receiver of \"{source}\" begins"),
            Self::ReceiverFailed {
                message,
                restarts_in,
                ..
            } => write!(
                f,
                "the receiver of \"{source}\" failed: {message}. It begins again in {} ms",
                restarts_in.as_millis()
            ),
            Self::ReceiverStopped { .. } => {
                write!(f, "the receiver of \"{source}\" has returned")
            }
            Self::RateChanged {
                records_per_second, ..
            } => write!(
                f,
                "source \"{source}\" may have {records_per_second} records per second"
            ),
            _ => f.write_str(source),
        }
    }
}

impl fmt::Display for ContextEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BatchSubmitted { batch } => write!(f, "{batch} is cut"),
            Self::BatchStarted { batch } => write!(f, "{batch} starts"),
            Self::BatchCompleted { batch, took, .. } => {
                write!(f, "{batch} is complete after {} ms", took.as_millis())
            }
            Self::AttemptFailed(attempt) => write!(f, "{attempt}"),
            Self::BatchFailed { batch, message } => write!(f, "{batch} failed: {message}"),
            Self::OutputDelayed {
                output,
                batch,
                phase,
                attempts,
                message,
                retry_in,
                ..
            } => write!(
                f,
                "{batch} waits for output {output}, whose {phase} has failed {attempts} times: {message}. The next attempt is in {} ms",
                retry_in.as_millis()
            ),
            Self::OutputResumed {
                output,
                batch,
                attempts,
            } => write!(
                f,
                "output {output} goes on with {batch} after {attempts} failures"
            ),
            Self::CheckpointCompleted { number, batch, .. } => {
                write!(f, "checkpoint {number} is published, after {batch}")
            }
            Self::CheckpointFailed { batch, message } => {
                write!(f, "no checkpoint after {batch}: {message}")
            }
            Self::Started => f.write_str("the context runs"),
            Self::Stopped { error: None } => f.write_str("the context has stopped"),
            Self::Stopped { error: Some(error) } => write!(f, "the context has stopped: {error}"),
            Self::RecoveryProgress { done, of } => {
                write!(f, "{done} of {of} batches are recovered")
            }
            Self::OutputCompleted {
                output,
                batch,
                took,
            } => write!(
                f,
                "output {output} has {batch} after {} ms",
                took.as_millis()
            ),
            Self::RecordsRefused { .. } | Self::HotKey { .. } => self.write_of_records(f),
            Self::ReceiverStarted { source }
            | Self::ReceiverFailed { source, .. }
            | Self::ReceiverStopped { source }
            | Self::RateChanged { source, .. } => self.write_of_source(source, f),
            Self::CheckpointStarted { batch } => write!(f, "a checkpoint after {batch} begins"),
            Self::LogTruncated { before } => write!(f, "the log is truncated before {before}"),
        }
    }
}

/// Reads events. Called on the thread on which the event happened, so it must be quick.
pub(crate) trait ContextListener: Debug + Send + Sync {
    fn on_event(&self, event: &ContextEvent);
}

type OnEvent = dyn Fn(&ContextEvent) + Send + Sync;

/// A listener of the program.
#[derive(Clone)]
pub(crate) struct UserListener(Arc<OnEvent>);

impl UserListener {
    pub(crate) fn new(f: impl Fn(&ContextEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }
}

impl Debug for UserListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserListener")
    }
}

impl ContextListener for UserListener {
    fn on_event(&self, event: &ContextEvent) {
        let heard: Result<(), String> = panics::catch(|| {
            (self.0)(event);
            Ok(())
        });
        if let Err(message) = heard {
            tracing::error!(%event, "a listener {message}; the context goes on");
        }
    }
}

/// Hands every event to every listener, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Events {
    listeners: RwLock<Vec<Arc<dyn ContextListener>>>,
}

impl Events {
    pub(crate) fn add_listener(&self, listener: Arc<dyn ContextListener>) {
        self.listeners.write().push(listener);
    }

    pub(crate) fn publish(&self, event: &ContextEvent) {
        let listeners = self.listeners.read();
        listeners.iter().for_each(|l| l.on_event(event));
    }
}

/// Writes every event into the program's log: changes of the context's state at the level `info`,
/// all others at `debug`. What fails is warned of where it fails.
#[derive(Debug)]
pub(crate) struct LogEvents;

impl ContextListener for LogEvents {
    fn on_event(&self, event: &ContextEvent) {
        match event {
            ContextEvent::Started
            | ContextEvent::Stopped { .. }
            | ContextEvent::ReceiverStarted { .. }
            | ContextEvent::ReceiverStopped { .. } => tracing::info!("{event}"),
            _ => tracing::debug!("{event}"),
        }
    }
}
