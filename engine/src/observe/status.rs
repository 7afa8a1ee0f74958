//! The state of a context, for everybody who waits for it.

use crate::error::{Error, Result};
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
}

impl Progress {
    /// How long `bytes` of log would take at the speed seen so far.
    pub(crate) fn time_for(&self, bytes: u64) -> Option<Duration> {
        let speed = self.bytes as f64 / self.busy.as_secs_f64();
        (speed.is_finite() && speed > 0.0).then(|| Duration::from_secs_f64(bytes as f64 / speed))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Status {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    state: Stage,
    progress: Progress,
    error: Option<Arc<Error>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Initialized,
    Active,
    Stopped,
}

impl Status {
    pub(crate) fn state(&self) -> ContextState {
        match self.inner.lock().state {
            Stage::Initialized => ContextState::Initialized,
            Stage::Active => ContextState::Active,
            Stage::Stopped => ContextState::Stopped,
        }
    }

    pub(crate) fn activate(&self) -> Result<()> {
        let mut inner = self.inner.lock();
        match inner.state {
            Stage::Initialized => inner.state = Stage::Active,
            Stage::Active => {
                return Err(Error::LifeCycle("the streaming context is running already"));
            }
            Stage::Stopped => {
                return Err(Error::LifeCycle(
                    "a stopped streaming context cannot be started again: build a new one",
                ));
            }
        }
        Ok(())
    }

    /// Ends the context, with the error that ended it if there was one; the first one counts.
    pub(crate) fn stopped(&self, error: Option<Error>) {
        let mut inner = self.inner.lock();
        inner.state = Stage::Stopped;
        if inner.error.is_none() {
            inner.error = error.map(Arc::new);
        }
        self.changed.notify_all();
    }

    /// Ends the context with `error` and gives it back to the caller.
    pub(crate) fn fail(&self, error: Error) -> Error {
        let shared = Arc::new(error);
        let mut inner = self.inner.lock();
        inner.state = Stage::Stopped;
        inner.error.get_or_insert_with(|| Arc::clone(&shared));
        self.changed.notify_all();
        Error::Ended(shared)
    }

    pub(crate) fn error(&self) -> Option<Arc<Error>> {
        self.inner.lock().error.clone()
    }

    pub(crate) fn completed(&self, batch: u64, bytes: u64, took: Duration, replayed: bool) {
        let mut inner = self.inner.lock();
        let progress = &mut inner.progress;
        progress.last_batch = Some(batch);
        progress.batches += 1;
        progress.replayed += u64::from(replayed);
        progress.bytes += bytes;
        progress.busy += took;
        self.changed.notify_all();
    }

    /// Batches up to this one are in the checkpoint that the context starts from.
    pub(crate) fn recovered(&self, batch: u64) {
        self.inner.lock().progress.last_batch = Some(batch);
    }

    pub(crate) fn progress(&self) -> Progress {
        self.inner.lock().progress
    }

    pub(crate) fn await_batch(&self, id: u64) -> Result<()> {
        let mut inner = self.inner.lock();
        while inner.progress.last_batch.is_none_or(|last| last < id) {
            if inner.state == Stage::Stopped {
                return Err(inner.error.clone().map_or(Error::Stopped, Error::Ended));
            }
            self.changed.wait(&mut inner);
        }
        Ok(())
    }

    pub(crate) fn await_end(&self) -> Result<()> {
        let mut inner = self.inner.lock();
        while inner.state != Stage::Stopped {
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
                .wait_while_for(&mut inner, |i| i.state != Stage::Stopped, timeout);
        if inner.state != Stage::Stopped {
            return Ok(false);
        }
        inner
            .error
            .clone()
            .map_or(Ok(true), |error| Err(Error::Ended(error)))
    }
}

/// Where a context is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextState {
    /// Built; sources take data into the log, no batch runs yet.
    Initialized,
    /// Batches run.
    Active,
    /// Over, by [`StreamingContext::stop`] or by an error. It cannot be started again.
    Stopped,
}
