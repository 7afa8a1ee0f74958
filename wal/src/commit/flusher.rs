//! Syncing for those who do not wait themselves: intervals and futures, and the watermark of a log
//! that has come to rest. Its thread starts when first needed.

use crate::error::{Result, WalError};
use crate::log::shared::Shared;
use crate::options::{Background, Durability};
use crate::segment::file::Stores;
use highwater_disk::Notify;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long no group must have come before the log is taken to be at rest.
const SETTLE_AFTER: Duration = Duration::from_millis(500);

/// A log that comes to rest notes its end in `LOG` so often at most.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// No flush is due.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Flusher {
    alarm: Arc<Notify>,
    /// When to flush, in nanoseconds of the clock.
    due: AtomicU64,
    /// Groups were committed since the log last came to rest.
    restless: AtomicBool,
    /// Whether somebody writes the watermark of a log at rest.
    settles: AtomicBool,
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
            restless: AtomicBool::new(false),
            settles: AtomicBool::new(false),
            state: Mutex::new(State::NotStarted),
        }
    }
}

impl Flusher {
    /// A group was committed. Its watermark is durable with the next one, or, if none comes, when
    /// the log has been at rest for a while: until then damage to this group could not be told from
    /// a torn write. Past the page cache the watermark is in memory only; elsewhere the kernel
    /// writes it by itself.
    pub(crate) fn restless(&self) {
        if self.restless.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.settles.load(Ordering::Acquire) {
            self.alarm.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Stopped);
        if let State::Running(thread) = state {
            self.alarm.notify_one();
            // A waker that it calls may own the log.
            if thread.thread().id() != std::thread::current().id() {
                // A panic while syncing has poisoned the log, which says so to everybody.
                let _ = thread.join();
            }
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
                let deadline =
                    u64::try_from(now.saturating_add(interval).as_nanos()).unwrap_or(NEVER - 1);
                let before = self.flusher.due.fetch_min(deadline, Ordering::AcqRel);
                if deadline < before {
                    self.ring_flusher()
                } else {
                    Ok(())
                }
            }
            Background::Inline => {
                let deadline =
                    u64::try_from(now.saturating_add(interval).as_nanos()).unwrap_or(NEVER - 1);
                self.flusher.due.fetch_min(deadline, Ordering::AcqRel);
                if self.flusher.due().is_some_and(|due| due <= now) {
                    self.flusher.due.store(NEVER, Ordering::Release);
                    return self.sync_all();
                }
                Ok(())
            }
        }
    }

    /// Starts the thread that writes the watermark of a log at rest, where that is in memory only.
    /// Now, not when it is first needed: a process short of memory may die of starting a thread.
    pub(crate) fn start_settling(self: &Arc<Self>) -> Result<()> {
        let staged = self.tail.load().stores() == Stores::Staged;
        if !staged || self.options.background != Background::Thread {
            return Ok(());
        }
        self.flusher.settles.store(true, Ordering::Release);
        self.ring_flusher()
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
        self.flusher.alarm.notify_one();
        Ok(())
    }

    fn flush_loop(&self) {
        let mut rest = Rest::default();
        while !self.flusher.is_stopped() {
            let awaited = self.commit.awaited();
            let due = self.flusher.due();
            let now = self.clock.now();
            let now_due = due.is_some_and(|due| due <= now);
            if awaited.is_none() && !now_due {
                let settle_at = rest.look(self, now);
                if settle_at.is_some_and(|at| at <= now) {
                    if self.settle().is_err() {
                        return; // poisoned: everybody who waits was told
                    }
                    rest.settled();
                    continue;
                }
                let note_at = rest.note_at();
                if note_at.is_some_and(|at| at <= now) {
                    rest.noted(now);
                    self.note_end();
                    continue;
                }
                let deadline = due.into_iter().chain(settle_at).chain(note_at).min();
                self.clock.wait(&self.flusher.alarm, deadline);
                continue;
            }
            if now_due {
                self.flusher.due.store(NEVER, Ordering::Release);
            }
            // What somebody awaits may be the watermark that is otherwise left to the next group.
            let synced = awaited.map_or(Ok(()), |lsn| self.sync_below(lsn + 1));
            // That may have been served by somebody who did not reach what is due: its alarm is off
            // now.
            let synced = synced.and_then(|()| if now_due { self.sync_all() } else { Ok(()) });
            if synced.is_err() {
                return;
            }
        }
    }
}

/// Whether the log is at rest.
#[derive(Debug, Default)]
struct Rest {
    /// Groups when it was last looked at, and when it will have been at rest long enough if there
    /// are no more.
    seen: Option<(u64, Duration)>,
    /// When its end was noted last.
    noted_at: Option<Duration>,
    owes_note: bool,
}

impl Rest {
    fn settled(&mut self) {
        self.seen = None;
        self.owes_note = true;
    }

    /// When to note the end of the log, if it came to rest since that was done.
    fn note_at(&self) -> Option<Duration> {
        let earliest = |noted: Duration| noted.saturating_add(NOTE_EVERY);
        self.owes_note
            .then(|| self.noted_at.map_or(Duration::ZERO, earliest))
    }

    fn noted(&mut self, now: Duration) {
        self.noted_at = Some(now);
        self.owes_note = false;
    }

    /// When to settle, as things stand; `None` while nothing was committed since the last time.
    fn look(&mut self, shared: &Shared, now: Duration) -> Option<Duration> {
        if !shared.flusher.restless.load(Ordering::Acquire) {
            return None;
        }
        let groups = shared.counters.groups();
        let at = match self.seen {
            Some((seen, at)) if seen == groups => at,
            _ => now.saturating_add(SETTLE_AFTER),
        };
        self.seen = Some((groups, at));
        if at <= now {
            // Before the look at the end: a group that comes meanwhile rings again.
            shared.flusher.restless.store(false, Ordering::Release);
        }
        Some(at)
    }
}
