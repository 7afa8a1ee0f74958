//! An append that never blocks the executor.

use crate::commit::future::Durable;
use crate::error::Result;
use crate::log::shared::{Refused, Shared};
use crate::lsn::Lsn;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Ready once a record is appended: see [`Wal::append_async`](crate::Wal::append_async).
#[must_use = "futures do nothing unless awaited"]
pub struct Appending<P> {
    shared: Arc<Shared>,
    payload: P,
    /// What has to be durable before the log goes to its next segment.
    unsynced: Option<Durable>,
    /// Its number among the tasks that wait for that segment.
    id: u64,
}

/// Nothing in it is pinned.
impl<P> Unpin for Appending<P> {}

impl<P> fmt::Debug for Appending<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appending").finish_non_exhaustive()
    }
}

impl<P: AsRef<[u8]>> Appending<P> {
    pub(crate) fn new(shared: &Arc<Shared>, payload: P) -> Self {
        Self {
            id: shared.turn.new_id(),
            shared: Arc::clone(shared),
            payload,
            unsynced: None,
        }
    }
}

impl<P: AsRef<[u8]>> Future for Appending<P> {
    type Output = Result<Lsn>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut registered = false;
        loop {
            if let Some(unsynced) = &mut this.unsynced {
                match Pin::new(unsynced).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => this.unsynced = None,
                }
            }
            match this.shared.append_at_once(this.payload.as_ref()) {
                Ok(lsn) => return Poll::Ready(Ok(lsn)),
                Err(Refused::Error(error)) => return Poll::Ready(Err(error)),
                Err(Refused::Unsynced(until)) => {
                    let last = Lsn::new(until.saturating_sub(1));
                    this.unsynced = Some(Durable::new(&this.shared.flusher, last));
                }
                Err(Refused::Turn) if registered => return Poll::Pending,
                // Then once more: it may have been ready in between.
                Err(Refused::Turn) => {
                    this.shared.turn.register(this.id, context.waker().clone());
                    registered = true;
                    // The flusher wakes it.
                    if let Err(error) = this.shared.flusher.ring() {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
    }
}

impl<P> Drop for Appending<P> {
    fn drop(&mut self) {
        self.shared.turn.forget(self.id);
    }
}
