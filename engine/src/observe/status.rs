//! The state of a context, and waiting for it.

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::observe::event::{ContextEvent, ContextListener, ContextState};
use crate::observe::failed_attempt::FailedAttempt;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// How far the batches are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last completed batch, of this run or in the checkpoint that it started from.
    pub last_batch: Option<u64>,
    /// Batches run since the start, replayed ones included.
    pub batches: u64,
    /// Of these, replayed for their state only: their outputs were committed before.
    pub replayed: u64,
    /// Log bytes of all of them.
    pub bytes: u64,
    /// Time spent on batches with data.
    pub busy: Duration,
    /// Attempts at batches that failed and were followed by another attempt.
    pub failed_attempts: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Status {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    state: ContextState,
    progress: Progress,
    /// The last completed batch.
    last: Option<Batch>,
    error: Option<Arc<Error>>,
    failed_attempt: Option<FailedAttempt>,
}

impl Status {
    /// The newest attempt at the running batch that failed, until the batch is complete.
    pub(crate) fn failed_attempt(&self) -> Option<FailedAttempt> {
        self.inner.lock().failed_attempt.clone()
    }

    pub(crate) fn state(&self) -> ContextState {
        self.inner.lock().state
    }

    pub(crate) fn activate(&self) -> Result<()> {
        let mut inner = self.inner.lock();
        match inner.state {
            ContextState::Initialized => inner.state = ContextState::Active,
            ContextState::Active => {
                return Err(Error::LifeCycle("the streaming context is running already"));
            }
            ContextState::Stopped => {
                return Err(Error::LifeCycle(
                    "a stopped streaming context cannot be started again: build a new one",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn error(&self) -> Option<Arc<Error>> {
        self.inner.lock().error.clone()
    }

    /// Batches up to this one are in the checkpoint that the context starts from.
    pub(crate) fn recovered(&self, batch: Batch) {
        let mut inner = self.inner.lock();
        inner.progress.last_batch = Some(batch.id);
        inner.last = Some(batch);
    }

    /// The last batch that was completed, in this run or in the checkpoint that it started from.
    pub(crate) fn last(&self) -> Option<Batch> {
        self.inner.lock().last
    }

    pub(crate) fn progress(&self) -> Progress {
        self.inner.lock().progress
    }

    pub(crate) fn await_batch(&self, id: u64) -> Result<()> {
        let mut inner = self.inner.lock();
        while inner.progress.last_batch.is_none_or(|last| last < id) {
            if inner.state == ContextState::Stopped {
                return Err(inner.error.clone().map_or(Error::Stopped, Error::Ended));
            }
            self.changed.wait(&mut inner);
        }
        Ok(())
    }

    pub(crate) fn await_end(&self) -> Result<()> {
        let mut inner = self.inner.lock();
        while inner.state != ContextState::Stopped {
            self.changed.wait(&mut inner);
        }
        inner
            .error
            .clone()
            .map_or(Ok(()), |error| Err(Error::Ended(error)))
    }

    pub(crate) fn await_end_or_timeout(&self, timeout: Duration) -> Result<bool> {
        let mut inner = self.inner.lock();
        let _timed_out =
            self.changed
                .wait_while_for(&mut inner, |i| i.state != ContextState::Stopped, timeout);
        if inner.state != ContextState::Stopped {
            return Ok(false);
        }
        inner
            .error
            .clone()
            .map_or(Ok(true), |error| Err(Error::Ended(error)))
    }
}

impl ContextListener for Status {
    fn on_event(&self, event: &ContextEvent) {
        let mut inner = self.inner.lock();
        match event {
            ContextEvent::BatchCompleted {
                batch,
                replayed,
                took,
                ..
            } => {
                let progress = &mut inner.progress;
                progress.last_batch = Some(batch.id);
                progress.batches += 1;
                progress.replayed += u64::from(*replayed);
                progress.bytes += batch.to.bytes_since(batch.from);
                progress.busy += *took;
                inner.last = Some(*batch);
                inner.failed_attempt = None;
            }
            ContextEvent::AttemptFailed(attempt) => {
                inner.progress.failed_attempts += 1;
                inner.failed_attempt = Some(attempt.clone());
            }
            ContextEvent::Started => {
                if inner.state != ContextState::Stopped {
                    inner.state = ContextState::Active; // a stop is final
                }
            }
            ContextEvent::Stopped { error } => {
                inner.state = ContextState::Stopped;
                if inner.error.is_none() {
                    inner.error.clone_from(error); // the first one counts
                }
            }
            _ => return,
        }
        self.changed.notify_all();
    }
}
