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
