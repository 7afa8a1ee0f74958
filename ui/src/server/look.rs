//! One look at the program for all who are shown it: a page, its twins, pages that are open.

use crate::page::update::{Event, events};
use crate::snapshot::{Observed, Snapshot};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) now: Result<Snapshot, String>,
    at: Instant,
    /// What pages that are open are told, once one is.
    events: OnceLock<Vec<Event>>,
}

impl Seen {
    /// Made once, for all pages.
    pub(super) fn events(&self) -> &[Event] {
        self.events.get_or_init(|| events(&self.now))
    }
}

/// Looks at the program: one at a time, and not on the threads of the connections, because a look
/// may wait for a disk.
pub(super) struct Looks {
    observed: Arc<dyn Observed>,
    newest: Mutex<Option<Arc<Seen>>>,
    turn: Arc<Semaphore>,
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looks").finish_non_exhaustive()
    }
}

impl Looks {
    pub(super) fn new(observed: Arc<dyn Observed>) -> Self {
        Self {
            observed,
            newest: Mutex::const_new(None),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// How things are now: what was seen after the call, by this client or by another one.
    pub(super) async fn now(&self) -> Arc<Seen> {
        self.not_older_than(Duration::ZERO).await
    }

    /// What was seen after the call, or at most that long before it.
    pub(super) async fn not_older_than(&self, age: Duration) -> Arc<Seen> {
        let called = Instant::now();
        let mut newest = self.newest.lock().await;
        if let Some(seen) = &*newest
            && seen.at + age >= called
        {
            return Arc::clone(seen);
        }
        // A client that leaves does not end the look that it has begun: the next one waits for it.
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let at = Instant::now();
        let observed = Arc::clone(&self.observed);
        let look = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            observed.snapshot()
        });
        let now = look.await.unwrap_or_else(|_| {
            Err("looking at the program has failed; its log says how".to_owned())
        });
        let seen = Arc::new(Seen {
            now,
            at,
            events: OnceLock::new(),
        });
        *newest = Some(Arc::clone(&seen));
        seen
    }
}
