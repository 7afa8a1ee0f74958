//! Threads and tasks that wait for room in a log at its bound.

use crate::error::Result;
use highwater_disk::Clock;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

/// What they wait for changes before [`Self::notify`] is called, which takes the lock under which
/// they look: no change is missed.
#[derive(Debug, Default)]
pub(crate) struct RoomWaiters {
    tasks: Mutex<BTreeMap<u64, Waker>>,
    waiting: AtomicUsize,
    next_id: AtomicU64,
    changed: Condvar,
}

/// How a wait for room ended: see
/// [`Wal::wait_for_room_timeout`](crate::Wal::wait_for_room_timeout).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomWait {
    /// There is room.
    Room,
    /// There was none in time.
    TimedOut,
}

/// One that waits.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<RoomWaiters>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl RoomWaiters {
    /// Has all waiters look again: the log was truncated, closed or poisoned.
    pub(crate) fn notify(&self) {
        let tasks = {
            let mut tasks = self.tasks.lock();
            self.changed.notify_all();
            std::mem::take(&mut *tasks)
        };
        // Not under the lock: a waker may own its task, and with it something that waits here.
        tasks.into_values().for_each(Waker::wake);
    }

    /// Whether a thread or a task waits. A task that was woken and has not looked yet is one.
    pub(crate) fn any(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Counts one that waits, as long as the result lives.
    pub(crate) fn begin(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(Arc::clone(self))
    }

    /// Blocks until `outcome` is known, or the clock reaches the deadline.
    pub(crate) fn wait(
        &self,
        deadline: Option<(&dyn Clock, Duration)>,
        outcome: impl Fn() -> Option<Result<()>>,
    ) -> Result<RoomWait> {
        let mut tasks = self.tasks.lock();
        loop {
            if let Some(outcome) = outcome() {
                return outcome.map(|()| RoomWait::Room);
            }
            match deadline.map(|(clock, deadline)| deadline.saturating_sub(clock.now())) {
                None => self.changed.wait(&mut tasks),
                Some(Duration::ZERO) => return Ok(RoomWait::TimedOut),
                Some(left) => {
                    let _ = self.changed.wait_for(&mut tasks, left);
                }
            }
        }
    }

    /// The number of a new task, for [`Self::poll`] and [`Self::forget`].
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Registers the task `id`, unless `outcome` is known.
    pub(crate) fn poll(
        &self,
        id: u64,
        waker: Waker,
        outcome: impl Fn() -> Option<Result<()>>,
    ) -> Poll<Result<()>> {
        let mut tasks = self.tasks.lock();
        if let Some(outcome) = outcome() {
            return Poll::Ready(outcome);
        }
        let old = tasks.insert(id, waker);
        drop(tasks);
        drop(old);
        Poll::Pending
    }

    /// Registers the task `id`: it is woken by the next [`Self::notify`].
    pub(crate) fn register(&self, id: u64, waker: Waker) {
        let old = self.tasks.lock().insert(id, waker);
        drop(old); // not under the lock, as above
    }

    pub(crate) fn forget(&self, id: u64) {
        let unwanted = self.tasks.lock().remove(&id);
        drop(unwanted); // not under the lock, as above
    }
}
