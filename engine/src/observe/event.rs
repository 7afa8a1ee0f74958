//! The events of a context: one stream, which every observer reads.

use crate::batch::Batch;
use crate::batch::work::Purpose;
use crate::error::Error;
use crate::observe::failed_attempt::FailedAttempt;
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

/// Something that happened in a context.
#[derive(Debug, Clone)]
pub(crate) enum ContextEvent {
    /// The cut of a batch is durable; the batch waits for the driver.
    BatchCut { batch: Batch },
    /// The driver begins with a batch.
    BatchStarted { batch: Batch },
    /// A batch is complete; its outputs, if it has any, are published.
    BatchFinished {
        batch: Batch,
        purpose: Purpose,
        took: Duration,
    },
    /// An attempt at a batch failed; another one follows.
    AttemptFailed(FailedAttempt),
    /// A batch failed; the context stops.
    BatchFailed { batch: Batch, message: String },
    /// A sink has failed; the batch waits and it is tried again.
    OutputDelayed {
        output: String,
        batch: Batch,
        /// What it was doing: staging or publishing.
        phase: &'static str,
        /// When it failed first, by the wall clock.
        since_ms: u64,
        attempts: u64,
        message: String,
        retry_in: Duration,
    },
    /// A sink that had failed goes on.
    OutputResumed {
        output: String,
        batch: Batch,
        attempts: u64,
    },
    /// A checkpoint is published.
    CheckpointPublished {
        number: u64,
        batch: Batch,
        size_bytes: u64,
        /// How long it took to read the checkpoint back.
        load_time: Duration,
    },
    /// A checkpoint could not be taken; the log is kept instead.
    CheckpointFailed { batch: Batch, message: String },
    /// The context runs, or has stopped.
    StateChanged {
        state: ContextState,
        /// Why it stopped, if that was an error.
        error: Option<Arc<Error>>,
    },
    /// The receiver of a source has returned.
    SourceStopped { source: String },
}

impl fmt::Display for ContextEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BatchCut { batch } => write!(f, "{batch} is cut"),
            Self::BatchStarted { batch } => write!(f, "{batch} starts"),
            Self::BatchFinished { batch, took, .. } => {
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
            Self::CheckpointPublished { number, batch, .. } => {
                write!(f, "checkpoint {number} is published, after {batch}")
            }
            Self::CheckpointFailed { batch, message } => {
                write!(f, "no checkpoint after {batch}: {message}")
            }
            Self::StateChanged { state, error: None } => write!(f, "the context is {state:?}"),
            Self::StateChanged {
                state,
                error: Some(error),
            } => write!(f, "the context is {state:?}: {error}"),
            Self::SourceStopped { source } => write!(f, "source \"{source}\" has stopped"),
        }
    }
}

/// Reads events. Called on the thread on which the event happened, so it must be quick.
pub(crate) trait ContextListener: Debug + Send + Sync {
    fn on_event(&self, event: &ContextEvent);
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

/// Writes every event into the program's log, for `RUST_LOG=highwater_engine=debug`.
#[derive(Debug)]
pub(crate) struct LogEvents;

impl ContextListener for LogEvents {
    fn on_event(&self, event: &ContextEvent) {
        tracing::debug!("{event}");
    }
}
