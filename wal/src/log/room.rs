//! Waiting for room in a log at its bound.

use crate::error::Result;
use crate::log::shared::Shared;
use crate::retention::room::{RoomWait, Waiting};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

impl Shared {
    /// There is room, or there never will be; `None` if waiting may help.
    fn room_or_end(&self) -> Option<Result<()>> {
        if let Err(error) = self.commit.check() {
            return Some(Err(error));
        }
        if self.is_shut() {
            return Some(Err(self.commit.closed_error()));
        }
        self.budget.admits_longest().then_some(Ok(()))
    }

    /// Waits for room, for `timeout` at most.
    pub(crate) fn wait_for_room(&self, timeout: Option<Duration>) -> Result<RoomWait> {
        let clock = &*self.options.clock;
        let deadline = timeout.map(|timeout| (clock, clock.now().saturating_add(timeout)));
        let _waiting = self.room.begin();
        if self.room_or_end().is_none() {
            self.maintenance.truncate_by_policy_soon();
        }
        self.room.wait(deadline, || self.room_or_end())
    }
}

/// Ready once the log has room: see [`Wal::room`](crate::Wal::room).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct RoomFuture {
    shared: Arc<Shared>,
    id: u64,
    /// It was polled. The policy is asked for then, once: it is woken when that is done.
    waiting: Option<Waiting>,
}

impl RoomFuture {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            id: shared.room.new_id(),
            shared: Arc::clone(shared),
            waiting: None,
        }
    }
}

impl Future for RoomFuture {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let has_asked = self.waiting.is_some();
        if !has_asked {
            self.waiting = Some(self.shared.room.begin());
        }
        let (shared, waker) = (&self.shared, context.waker().clone());
        let polled = shared.room.poll(self.id, waker, || shared.room_or_end());
        if polled.is_pending() && !has_asked {
            shared.maintenance.truncate_by_policy_soon();
        }
        polled
    }
}

impl Drop for RoomFuture {
    fn drop(&mut self) {
        self.shared.room.forget(self.id);
    }
}
