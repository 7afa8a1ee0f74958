//! Threads and tasks that wait for the durable LSN without leading a group: futures, tails,
//! watches.

use highwater_disk::Clock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

/// A number by which waiters are told apart.
pub(crate) fn new_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The tasks that wait, by the position they wait for and by their number.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// The log is closed.
    pub(crate) ended: bool,
    pub(crate) tasks: BTreeMap<(u64, u64), Waiter>,
}

impl Waiters {
    /// The highest position that a future wants durable. Tails want nothing: or the flusher would
    /// sync for them for ever.
    pub(crate) fn wanted(&self) -> Option<u64> {
        let wanted = |waiter: &Waiter| matches!(waiter, Waiter::Future(_));
        let mut from_last = self.tasks.iter().rev();
        from_last.find_map(|((lsn, _), waiter)| wanted(waiter).then_some(*lsn))
    }
}

/// A task that waits for the durable LSN.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// It wants a record made durable.
    Future(Waker),
    /// It only wants to be told.
    Tail(Waker),
}

impl Waiter {
    pub(crate) fn wake(self) {
        match self {
            Self::Future(waker) | Self::Tail(waker) => waker.wake(),
        }
    }
}

/// What may end the wait of a thread early.
#[derive(Debug, Default)]
pub(crate) struct Until<'a> {
    pub(crate) stopped: Option<&'a AtomicBool>,
    pub(crate) deadline: Option<(&'a dyn Clock, Duration)>,
}

impl Until<'_> {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
            .is_some_and(|flag| flag.load(Ordering::Acquire))
    }

    /// How long to wait at most.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline
            .map(|(clock, deadline)| deadline.saturating_sub(clock.now()))
    }
}

/// How a wait for the durable LSN ended.
#[derive(Debug)]
pub(crate) enum Watched {
    /// It is past the position, and here now.
    Durable(u64),
    TimedOut,
    /// The log is closed, or the waiter was stopped.
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_futures_want_something_durable() {
        let waker = || Waker::noop().clone();
        let mut waiters = Waiters {
            ended: false,
            tasks: BTreeMap::from([((30, 1), Waiter::Tail(waker()))]),
        };
        assert_eq!(waiters.wanted(), None);
        for (lsn, id) in [(10, 2), (20, 3)] {
            let future = Waiter::Future(waker());
            waiters.tasks.insert((lsn, id), future);
        }
        assert_eq!(waiters.wanted(), Some(20));
    }
}
