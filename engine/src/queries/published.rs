//! Up to which batch readers see the states, and the key groups that they look at.
//!
//! Invariant: what readers see is committed. It only ascends, also across a restart: while batches
//! are replayed that were shown before, readers are told so, or wait.

use crate::batch::Batch;
use crate::batch::work::Shown;
use crate::error::Error;
use crate::queries::answer::End;
use crate::queries::pins::Pins;
use crate::state::table::shared::reading::SharedGroup;
use highwater_wal::Lsn;
use highwater_wal::disk::{Clock, OsClock};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// The key groups of the states that can be asked for: by state, by number.
pub(crate) type Groups = BTreeMap<usize, BTreeMap<u32, SharedGroup>>;

/// The ends of so many batches are remembered, for those who follow the changes.
const MAX_RECENT: usize = 1024;

/// What readers see.
#[derive(Debug, Clone)]
pub(crate) struct Now {
    pub(crate) end: End,
    /// Batches up to this one were cut before the start, so they may have been shown. The log need
    /// not know which of them were committed: their cuts are durable, and they run again as they
    /// ran.
    pub(crate) found: u64,
    /// The workers have nothing of batches before this one.
    pub(crate) floor: u64,
    pub(crate) life: Life,
}

/// Where the workers are.
#[derive(Debug, Clone)]
pub(crate) enum Life {
    NotStarted,
    Running(Arc<Groups>),
    /// They are built again.
    Lost,
    /// The context has stopped; why, if that was an error.
    Stopped(Option<Arc<Error>>),
}

impl Life {
    /// A stop is final; another one may tell why.
    fn becomes(&mut self, next: Self) {
        let is_allowed = match (&*self, &next) {
            (Life::Stopped(why), Life::Stopped(_)) => why.is_none(),
            (Life::Stopped(_), _) => false,
            _ => true,
        };
        if is_allowed {
            *self = next;
        }
    }

    /// The key groups of workers that run.
    pub(crate) fn groups(&self) -> Option<&Arc<Groups>> {
        match self {
            Life::Running(groups) => Some(groups),
            Life::NotStarted | Life::Lost | Life::Stopped(_) => None,
        }
    }
}

/// What readers share with the driver.
#[derive(Debug)]
pub(crate) struct Published {
    clock: Arc<dyn Clock>,
    /// Questions wait by it: those who ask are no part of the program, whose clock a test may set.
    real: OsClock,
    now: RwLock<Now>,
    /// The newest batches, ascending.
    recent: Mutex<VecDeque<End>>,
    pins: Mutex<Pins>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// Those who wait for a change without a thread.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Published {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let end = End {
            batch: 0,
            time_ms: 0,
            to: Lsn::ZERO,
        };
        Self {
            clock,
            real: OsClock::new(),
            now: RwLock::new(Now {
                end,
                found: 0,
                floor: 0,
                life: Life::NotStarted,
            }),
            recent: Mutex::default(),
            pins: Mutex::default(),
            waiting: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.now.read().clone()
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.write());
        // Those who looked before this wait by now: the lock is theirs from the look to the wait.
        let wakers = std::mem::take(&mut self.waiting.lock().wakers);
        self.changed.notify_all();
        wakers.into_values().for_each(Waker::wake);
    }

    /// The context starts with the state at `end`; batches up to `found` were cut before.
    pub(crate) fn starts(&self, end: End, found: u64) {
        self.recent.lock().push_back(end);
        self.change(|now| {
            (now.end, now.found, now.floor) = (end, found, end.batch);
        });
    }

    /// A batch is complete and committed.
    pub(crate) fn publish(&self, batch: &Batch) {
        let end = End::of(batch);
        let mut recent = self.recent.lock();
        if recent.len() == MAX_RECENT {
            recent.pop_front();
        }
        recent.push_back(end);
        drop(recent);
        self.change(|now| {
            debug_assert!(end.batch > now.end.batch, "batches are published in order");
            now.end = end;
        });
    }

    /// Workers run with the state as of the newest batch.
    pub(crate) fn workers(&self, groups: Groups) {
        self.change(|now| {
            now.floor = now.end.batch;
            now.life.becomes(Life::Running(Arc::new(groups)));
        });
    }

    /// The workers are lost.
    pub(crate) fn lost(&self) {
        self.change(|now| now.life.becomes(Life::Lost));
    }

    /// The context has stopped, and why if that was an error.
    pub(crate) fn stopped(&self, why: Option<Arc<Error>>) {
        self.change(|now| now.life.becomes(Life::Stopped(why)));
    }

    /// The batches at whose end readers look, as of now.
    pub(crate) fn shown(&self) -> Shown {
        let mut pins = self.pins.lock();
        let oldest = pins.oldest(self.clock.now());
        let newest = self.now.read().end.batch;
        Shown {
            newest,
            oldest: oldest.map_or(newest, |oldest| oldest.min(newest)),
        }
    }

    /// Pins the newest batch for `keep`: what keys have at its end can be had until then.
    pub(crate) fn pin(self: &Arc<Self>, keep: Duration) -> Pin {
        let mut pins = self.pins.lock();
        let now = self.now();
        let until = self.clock.now().saturating_add(keep);
        let number = pins.add(now.end.batch, until);
        Pin {
            now,
            number,
            published: Arc::clone(self),
        }
    }

    /// The first batch after `batch`, if it is published and remembered; else the newest one if
    /// that is later.
    pub(crate) fn after(&self, batch: u64) -> Option<End> {
        let recent = self.recent.lock();
        let newest = recent.back().filter(|newest| newest.batch > batch)?;
        let next = recent.iter().find(|end| end.batch == batch + 1);
        Some(*next.unwrap_or(newest))
    }

    /// The end of a wait that begins now.
    pub(crate) fn until(&self, timeout: Duration) -> Duration {
        self.real.now().saturating_add(timeout)
    }

    /// Waits until `look` finds what it looks for, or `until`. `None` in the second case. `look`
    /// asks for nothing else in here: it runs while this is locked.
    pub(crate) fn wait<R>(&self, until: Duration, look: impl Fn(&Now) -> Option<R>) -> Option<R> {
        if let Some(found) = look(&self.now.read()) {
            return Some(found);
        }
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(found) = look(&self.now.read()) {
                return Some(found);
            }
            let left = until.saturating_sub(self.real.now());
            if left.is_zero() {
                return None;
            }
            let _timed_out = self.changed.wait_for(&mut waiting, left);
        }
    }

    /// The same without a thread: `waker` is woken at the next change. The number of the wait, for
    /// [`Self::give_up`].
    pub(crate) fn look_or_wake<R>(
        &self,
        number: &mut Option<u64>,
        waker: &Waker,
        look: impl Fn(&Now) -> Option<R>,
    ) -> Option<R> {
        let mut waiting = self.waiting.lock();
        let found = look(&self.now.read());
        if found.is_none() {
            let number = *number.get_or_insert_with(|| {
                waiting.next += 1;
                waiting.next
            });
            waiting.wakers.insert(number, waker.clone());
        }
        found
    }

    pub(crate) fn give_up(&self, number: u64) {
        self.waiting.lock().wakers.remove(&number);
    }
}

/// A batch that is pinned until this is dropped, or its time is over.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(crate) now: Now,
    number: u64,
    published: Arc<Published>,
}

impl Pin {
    /// Pins a later batch for `keep` instead.
    pub(crate) fn advance(&mut self, end: End, keep: Duration) {
        let until = self.published.clock.now().saturating_add(keep);
        let mut pins = self.published.pins.lock();
        pins.remove(self.number);
        self.number = pins.add(end.batch, until);
        self.now.end = end;
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.published.pins.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_wal::disk::OsClock;

    /// A cutter that fails stops the context while the driver builds workers again: when these were
    /// there, those who waited for a batch waited for ever.
    #[test]
    fn a_context_that_has_stopped_stays_so() {
        let published = Published::new(Arc::new(OsClock::new()));
        published.workers(Groups::new());
        published.lost();
        assert!(matches!(published.now().life, Life::Lost));
        published.stopped(Some(Arc::new(Error::Stopped)));
        published.workers(Groups::new());
        assert!(matches!(published.now().life, Life::Stopped(Some(_))));
        published.lost();
        published.stopped(None);
        assert!(matches!(published.now().life, Life::Stopped(Some(_))));
    }
}
