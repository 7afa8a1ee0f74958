//! Those who wait for the durable frontier without leading a group: futures, tails, watches.

use highwater_disk::Clock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

/// Those who wait for the frontier without leading.
#[derive(Debug)]
pub(crate) struct Audience {
    pub(crate) ended: Ended,
    pub(crate) waiters: BTreeMap<(u64, u64), Waiter>,
}

impl Audience {
    /// The highest position that a future wants durable. Tails want nothing: or the flusher would
    /// sync for them for ever.
    pub(crate) fn awaited(&self) -> Option<u64> {
        let wanted = |waiter: &Waiter| matches!(waiter, Waiter::Future(_));
        let mut from_last = self.waiters.iter().rev();
        from_last.find_map(|((lsn, _), waiter)| wanted(waiter).then_some(*lsn))
    }
}

/// Whether the log is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    No,
    Yes,
}

/// A task that waits for the frontier.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// It wants a record made durable.
    Future(Waker),
    /// It is content to be told.
    Tail(Waker),
}

impl Waiter {
    pub(crate) fn wake(self) {
        match self {
            Self::Future(waker) | Self::Tail(waker) => waker.wake(),
        }
    }
}

/// What may end the watching of a thread before its time.
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

/// What became of watching.
#[derive(Debug)]
pub(crate) enum Watched {
    /// The frontier is here now.
    Durable(u64),
    TimedOut,
    /// It will never be, or nobody wants to know any more.
    Ended,
}

/// Whether a waker was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    Waiting,
    NoNeed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_futures_want_something_durable() {
        let waker = || Waker::noop().clone();
        let mut audience = Audience {
            ended: Ended::No,
            waiters: BTreeMap::from([((30, 1), Waiter::Tail(waker()))]),
        };
        assert_eq!(audience.awaited(), None);
        for (lsn, id) in [(10, 2), (20, 3)] {
            let future = Waiter::Future(waker());
            audience.waiters.insert((lsn, id), future);
        }
        assert_eq!(audience.awaited(), Some(20));
    }
}
