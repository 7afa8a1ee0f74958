//! How much goes on at a time: each thing has its bound, beyond which a request is refused.

use crate::state_door::answer::Refusal;
use crate::state_door::options::StateDoorOptions;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Lists, and changes of a batch, that are read at a time.
const SCANS: usize = 4;
/// Lists that wait for that.
const WAITING_SCANS: usize = 64;
/// Questions that wait for a batch.
const WAITING: usize = 1024;

/// The bounds.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) scans: Scans,
    waiting_scans: Arc<Semaphore>,
    waiting: Semaphore,
    feeds: Arc<Semaphore>,
}

/// Work that reads many keys: on threads of its own, few at a time.
#[derive(Debug, Clone)]
pub(super) struct Scans(Arc<Semaphore>);

impl Scans {
    /// Does it when its turn comes. Given up, it is done all the same if it has begun.
    ///
    /// # Errors
    /// 500 if it panics.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let turn = turn.map_err(|_| Refusal::stopped())?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await
            .map_err(|_| Refusal::failed("reading the state has failed"))
    }
}

impl Turns {
    pub(super) fn new(options: &StateDoorOptions) -> Self {
        let most = |count| Arc::new(Semaphore::new(count));
        Self {
            scans: Scans(most(SCANS)),
            waiting_scans: most(WAITING_SCANS),
            waiting: Semaphore::new(WAITING),
            feeds: most(options.max_feeds),
        }
    }

    /// A question begins to wait for a batch.
    pub(super) fn wait(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let turn = self.waiting.try_acquire();
        turn.map_err(|_| Refusal::busy("too many questions wait for a batch"))
    }

    /// A list begins to wait for its turn.
    pub(super) fn list(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn = Arc::clone(&self.waiting_scans).try_acquire_owned();
        turn.map_err(|_| Refusal::busy("too many lists are under way"))
    }

    /// A client begins to follow changes.
    pub(super) fn feed(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn = Arc::clone(&self.feeds).try_acquire_owned();
        turn.map_err(|_| Refusal::busy("too many clients follow changes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    /// Scans that are under way, and how many may end.
    #[derive(Default)]
    struct Under {
        way: Mutex<(usize, usize, usize)>,
        changed: Condvar,
    }

    impl Under {
        fn scan(&self) {
            let mut way = self.way.lock().unwrap();
            way.0 += 1;
            way.1 = way.1.max(way.0);
            self.changed.notify_all();
            way = self.changed.wait_while(way, |way| way.2 == 0).unwrap();
            way.0 -= 1;
            way.2 -= 1;
        }

        fn wait_for(&self, count: usize) {
            let way = self.way.lock().unwrap();
            drop(self.changed.wait_while(way, |way| way.0 < count).unwrap());
        }

        fn let_end(&self, count: usize) {
            self.way.lock().unwrap().2 += count;
            self.changed.notify_all();
        }
    }

    #[test]
    fn four_scans_are_under_way_and_the_others_wait() {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).build().unwrap();
        let turns = Turns::new(&StateDoorOptions::new());
        let under = Arc::new(Under::default());
        let scans: Vec<_> = (0..20)
            .map(|_| {
                let (scans, under) = (turns.scans.clone(), Arc::clone(&under));
                runtime.spawn(async move { scans.run(move || under.scan()).await.is_ok() })
            })
            .collect();
        under.wait_for(SCANS);
        for _ in 0..16 {
            under.let_end(1);
            under.wait_for(SCANS);
        }
        under.let_end(SCANS);
        for scan in scans {
            assert!(runtime.block_on(scan).unwrap());
        }
        assert_eq!(under.way.lock().unwrap().1, SCANS);
    }

    #[test]
    fn what_is_too_much_is_refused_until_there_is_a_place() {
        let turns = Turns::new(&StateDoorOptions::new().max_feeds(2));
        let lists: Vec<_> = (0..WAITING_SCANS).map(|_| turns.list().unwrap()).collect();
        turns.list().unwrap_err();
        drop(lists);
        drop(turns.list().unwrap());
        let waits: Vec<_> = (0..WAITING).map(|_| turns.wait().unwrap()).collect();
        turns.wait().unwrap_err();
        drop(waits);
        drop(turns.wait().unwrap());
        let feeds: Vec<_> = (0..2).map(|_| turns.feed().unwrap()).collect();
        turns.feed().unwrap_err();
        drop(feeds);
        drop(turns.feed().unwrap());
    }
}
