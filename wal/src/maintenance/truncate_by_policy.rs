//! When the log gives up its oldest segments by itself.

use parking_lot::Mutex;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A log in which no segment is begun looks so often for records that have become too old.
const EVERY: Duration = Duration::from_mins(1);
/// As long as a caller waits for room: what kept the log may be gone, or more of it durable.
const EVERY_FOR_ROOM: Duration = Duration::from_secs(1);

/// What is done, and when it is due: when a segment was begun, when a caller begins to wait for
/// room and once a second while one does, and once a minute otherwise. What is done returns whether
/// one does.
#[derive(Default)]
pub(crate) struct TruncateByPolicy {
    apply: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
    is_due: AtomicBool,
    next: Mutex<Duration>,
}

impl fmt::Debug for TruncateByPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TruncateByPolicy").finish_non_exhaustive()
    }
}

impl TruncateByPolicy {
    /// From now on this is done. Called once.
    pub(crate) fn start(&self, apply: impl Fn() -> bool + Send + Sync + 'static) {
        let _first = self.apply.set(Box::new(apply));
        self.is_due.store(true, Ordering::Release);
    }

    /// It is due: a segment was begun, or a caller waits for room. False if there is no policy.
    pub(crate) fn set_due(&self) -> bool {
        self.is_due.store(true, Ordering::Release);
        self.apply.get().is_some()
    }

    /// Does it if it is due; false if it is not.
    pub(crate) fn step(&self, now: Duration) -> bool {
        let Some(apply) = self.apply.get() else {
            return false;
        };
        let next = *self.next.lock();
        if !self.is_due.swap(false, Ordering::AcqRel) && now < next {
            return false;
        }
        let every = match apply() {
            true => EVERY_FOR_ROOM,
            false => EVERY,
        };
        *self.next.lock() = now.saturating_add(every);
        true
    }

    /// When it is due next, if ever.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.apply.get().map(|_| *self.next.lock())
    }
}
