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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::runtime::Builder;

    /// Says how often it was looked at before.
    #[derive(Default)]
    struct Counted(AtomicU64);

    impl Observed for Counted {
        fn snapshot(&self) -> Result<Snapshot, String> {
            Err(self.0.fetch_add(1, Ordering::Relaxed).to_string())
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_look_is_shared_by_those_who_may_have_it() {
        let runtime = Builder::new_multi_thread().enable_time().build().unwrap();
        let looks = Arc::new(Looks::new(Arc::new(Counted::default())));
        let seen = runtime.block_on(async {
            let ask = |age| {
                let looks = Arc::clone(&looks);
                tokio::spawn(async move { looks.not_older_than(age).await.now.clone() })
            };
            // Ten pages that tick together cost one look, and so do ten that come later.
            let pages: Vec<_> = (0..10).map(|_| ask(HOUR)).collect();
            let mut seen = Vec::new();
            for page in pages {
                seen.push(page.await.unwrap().unwrap_err());
            }
            // What a request is told was seen after it was made.
            seen.push(ask(Duration::ZERO).await.unwrap().unwrap_err());
            seen.push(ask(Duration::ZERO).await.unwrap().unwrap_err());
            seen.push(ask(HOUR).await.unwrap().unwrap_err());
            seen
        });
        assert_eq!(seen[..10], ["0"; 10]);
        assert_eq!(seen[10..], ["1", "2", "2"]);
    }

    /// Its looks are held up until they are let go.
    struct Held {
        begun: std::sync::mpsc::Sender<()>,
        go: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    }

    impl Observed for Held {
        fn snapshot(&self) -> Result<Snapshot, String> {
            let _ = self.begun.send(());
            let _let_go = self.go.lock().unwrap().recv();
            Err("seen".to_owned())
        }
    }

    /// Clients that come and go while the disk hangs must not take a thread each.
    #[test]
    fn clients_that_leave_begin_no_second_look() {
        // One thread runs all tasks: what a task does is done when this one goes on.
        let runtime = Builder::new_current_thread().build().unwrap();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (let_go, go) = std::sync::mpsc::channel();
        let go = std::sync::Mutex::new(go);
        let looks = Arc::new(Looks::new(Arc::new(Held { begun, go })));
        runtime.block_on(async {
            for count in 0..20 {
                let looks = Arc::clone(&looks);
                let client = tokio::spawn(async move { looks.now().await.now.clone() });
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                if count == 0 {
                    has_begun.recv().unwrap(); // from here on the disk hangs
                }
                client.abort();
                let _ = client.await;
            }
            drop(let_go);
            assert_eq!(looks.now().await.now.clone().unwrap_err(), "seen");
        });
        drop((runtime, looks));
        assert_eq!(
            has_begun.iter().count(),
            1,
            "beside that of the first one there is the last one's"
        );
    }
}
