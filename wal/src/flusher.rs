//! Syncing for those who do not wait themselves: intervals and futures. Its thread starts when first needed.

use crate::error::{Result, WalError};
use crate::options::{Background, Durability};
use crate::shared::Shared;
use highwater_disk::Alarm;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// No flush is due.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Flusher {
    alarm: Arc<Alarm>,
    /// When to flush, in nanoseconds of the clock.
    due: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    NotStarted,
    Running(JoinHandle<()>),
    Stopped,
}

impl Default for Flusher {
    fn default() -> Self {
        Self {
            alarm: Arc::default(),
            due: AtomicU64::new(NEVER),
            state: Mutex::new(State::NotStarted),
        }
    }
}

impl Flusher {
    pub(crate) fn stop(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Stopped);
        if let State::Running(thread) = state {
            self.alarm.ring();
            // A panic while syncing has poisoned the log, which says so to everybody.
            let _ = thread.join();
        }
    }

    fn is_stopped(&self) -> bool {
        matches!(*self.state.lock(), State::Stopped)
    }

    fn due(&self) -> Option<Duration> {
        match self.due.load(Ordering::Acquire) {
            NEVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

impl Shared {
    /// After an append that nobody waits for: makes sure that it is flushed in time.
    pub(crate) fn flush_within(self: &Arc<Self>, durability: Durability) -> Result<()> {
        let Durability::Interval(interval) = durability else {
            return Ok(());
        };
        let now = self.clock.now();
        match self.options.background {
            Background::Thread => {
                let deadline = u64::try_from((now + interval).as_nanos()).unwrap_or(NEVER - 1);
                let before = self.flusher.due.fetch_min(deadline, Ordering::AcqRel);
                if deadline < before {
                    self.ring_flusher()
                } else {
                    Ok(())
                }
            }
            Background::Inline => {
                let deadline = u64::try_from((now + interval).as_nanos()).unwrap_or(NEVER - 1);
                self.flusher.due.fetch_min(deadline, Ordering::AcqRel);
                if self.flusher.due().is_some_and(|due| due <= now) {
                    self.flusher.due.store(NEVER, Ordering::Release);
                    return self.sync_all();
                }
                Ok(())
            }
        }
    }

    /// Has the flusher look at what futures wait for.
    pub(crate) fn ring_flusher(self: &Arc<Self>) -> Result<()> {
        let mut state = self.flusher.state.lock();
        if matches!(*state, State::NotStarted) {
            let shared = Arc::clone(self);
            let spawned = std::thread::Builder::new()
                .name("highwater-wal-flush".to_owned())
                .spawn(move || shared.flush_loop());
            let thread =
                spawned.map_err(|e| WalError::io("starting the flusher of", &self.dir, e))?;
            *state = State::Running(thread);
        }
        drop(state);
        self.flusher.alarm.ring();
        Ok(())
    }

    fn flush_loop(&self) {
        while !self.flusher.is_stopped() {
            let awaited = self.commit.awaited();
            let due = self.flusher.due();
            let now_due = due.is_some_and(|due| due <= self.clock.now());
            if awaited.is_none() && !now_due {
                self.clock.wait(&self.flusher.alarm, due);
                continue;
            }
            if now_due {
                self.flusher.due.store(NEVER, Ordering::Release);
            }
            if self.sync_all().is_err() {
                return; // poisoned: everybody who waits was told
            }
        }
    }
}
