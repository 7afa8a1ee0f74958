//! Syncing for callers that do not wait themselves: intervals and futures, and the last durable-LSN
//! record of an idle log. Its thread starts when first needed.

use crate::background::runner::Runner;
use crate::background::shared;
use crate::background::task::{Bell, Next, Task};
use crate::commit::sync::Syncer;
use crate::error::{Result, WalError};
use crate::options::choices::{Background, Durability};
use crate::segment::maker::WritesVia;
use highwater_disk::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A log without a new group for so long is idle.
const IDLE_AFTER: Duration = Duration::from_millis(500);

/// A log that becomes idle writes its end to the control file so often at most.
const RECORD_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Flusher {
    syncer: Arc<Syncer>,
    idle_log: Mutex<IdleLog>,
    runner: Runner,
}

impl Flusher {
    pub(crate) fn new(syncer: Arc<Syncer>) -> Self {
        Self {
            syncer,
            idle_log: Mutex::default(),
            runner: Runner::default(),
        }
    }

    pub(crate) fn syncer(&self) -> &Syncer {
        &self.syncer
    }

    /// Ends the thread. A panic while syncing has poisoned the log, and every caller gets that
    /// error.
    pub(crate) fn stop(&self) {
        self.runner.stop(self);
    }

    /// After an append that no caller waits for: makes sure that it is flushed in time.
    pub(crate) fn flush_within(self: &Arc<Self>, durability: Durability) -> Result<()> {
        let Durability::Interval(interval) = durability else {
            return Ok(());
        };
        let Syncer { options, idle, .. } = &*self.syncer;
        let now = options.clock.now();
        let earlier = idle.flush_by(now.saturating_add(interval));
        match options.background {
            Background::Thread | Background::Shared if earlier => self.ring(),
            Background::Inline if idle.due().is_some_and(|due| due <= now) => {
                idle.begin_flush();
                self.syncer.sync_all()
            }
            Background::Thread | Background::Shared | Background::Inline => Ok(()),
        }
    }

    /// Has everything flushed that is appended, by the thread.
    pub(crate) fn flush_soon(self: &Arc<Self>) -> Result<()> {
        let Syncer { options, idle, .. } = &*self.syncer;
        idle.flush_by(options.clock.now());
        self.ring()
    }

    /// Starts the thread that syncs the last durable-LSN record of an idle log, where that is in
    /// memory only. Now, not when it is first needed: a process short of memory may die of starting
    /// a thread.
    pub(crate) fn watch_idle(self: &Arc<Self>) -> Result<()> {
        let direct = self.syncer.segments.tail().writes_via() == WritesVia::Direct;
        if !direct || self.syncer.options.background == Background::Inline {
            return Ok(());
        }
        self.syncer.idle.watch();
        self.ring()
    }

    /// Has the flusher look at what futures wait for.
    pub(crate) fn ring(self: &Arc<Self>) -> Result<()> {
        let shared = match self.syncer.options.background {
            Background::Shared => Some(&*shared::FLUSHER),
            Background::Thread | Background::Inline => None,
        };
        let started = self.runner.start("highwater-wal-flush", self, shared);
        let dir = &self.syncer.dir;
        started.map_err(|e| WalError::io("starting the flusher of", dir, e))?;
        self.syncer.idle.bell().ring();
        Ok(())
    }

    /// What an idle log calls for, if no task waits: `due` is when the next flush is due.
    fn look_after_idle(&self, due: Option<Duration>, now: Duration) -> Next {
        let (syncer, idle_log) = (&*self.syncer, &mut *self.idle_log.lock());
        let sync_at = idle_log.sync_at(syncer, now);
        if sync_at.is_some_and(|at| at <= now) {
            if syncer.sync_idle().is_err() {
                return Next::Done; // poisoned: all waiters were told
            }
            idle_log.synced();
            return Next::Again;
        }
        let record_at = idle_log.record_at();
        if record_at.is_some_and(|at| at <= now) {
            idle_log.recorded(now);
            syncer.record_end();
            return Next::Again;
        }
        Next::Wait(due.into_iter().chain(sync_at).chain(record_at).min())
    }
}

impl Task for Flusher {
    fn step(&self) -> Next {
        if self.runner.is_stopped() {
            return Next::Done;
        }
        let syncer = &*self.syncer;
        if syncer.maintenance.turn().wake_if_due() {
            // The maintenance thread may have truncated the log.
            syncer.room.notify();
        }
        let idle = &*syncer.idle;
        let wanted = syncer.commit.wanted();
        let due = idle.due();
        let now = syncer.options.clock.now();
        let now_due = due.is_some_and(|due| due <= now);
        if wanted.is_none() && !now_due {
            return self.look_after_idle(due, now);
        }
        if now_due {
            idle.begin_flush();
        }
        // A future may want the durable-LSN record that is otherwise left to the next group.
        let synced = wanted.map_or(Ok(()), |lsn| syncer.sync_below(lsn + 1));
        // Another leader may have served that, and not have reached what is due: its deadline is
        // off now.
        let synced = synced.and_then(|()| if now_due { syncer.sync_all() } else { Ok(()) });
        match synced {
            Ok(()) => Next::Again,
            Err(_) => Next::Done,
        }
    }

    fn clock(&self) -> &dyn Clock {
        &*self.syncer.options.clock
    }

    fn bell(&self) -> &Bell {
        self.syncer.idle.bell()
    }

    fn ended(&self) {}
}

/// Whether the log is idle, and what that calls for.
#[derive(Debug, Default)]
struct IdleLog {
    /// Groups at the last look, and when the log will be idle if no more come.
    seen: Option<(u64, Duration)>,
    /// When its end was last written to the control file.
    recorded_at: Option<Duration>,
    owes_record: bool,
}

impl IdleLog {
    fn synced(&mut self) {
        self.seen = None;
        self.owes_record = true;
    }

    /// When to write the end of the log to the control file, if it became idle since the last time.
    fn record_at(&self) -> Option<Duration> {
        let earliest = |recorded: Duration| recorded.saturating_add(RECORD_EVERY);
        self.owes_record
            .then(|| self.recorded_at.map_or(Duration::ZERO, earliest))
    }

    fn recorded(&mut self, now: Duration) {
        self.recorded_at = Some(now);
        self.owes_record = false;
    }

    /// When to sync the last durable-LSN record; `None` while nothing was committed since the last
    /// time.
    fn sync_at(&mut self, syncer: &Syncer, now: Duration) -> Option<Duration> {
        if !syncer.idle.is_busy() {
            return None;
        }
        let groups = syncer.counters.groups();
        let at = match self.seen {
            Some((seen, at)) if seen == groups => at,
            _ => now.saturating_add(IDLE_AFTER),
        };
        self.seen = Some((groups, at));
        if at <= now {
            // Before the look at the end: a group that comes meanwhile rings again.
            syncer.idle.set_idle();
        }
        Some(at)
    }
}
