//! Waiting for a batch without a thread.

use crate::error::Result;
use crate::queries::asked::{Asked, Goal};
use highwater_wal::Lsn;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Is ready when readers see what was waited for; see
/// [`StateReader::reaches`](crate::StateReader::reaches). It has no deadline of its own.
#[derive(Debug)]
#[must_use = "it waits only while it is polled"]
pub struct Reaches {
    asked: Asked,
    goal: Goal,
    waiting: Option<u64>,
}

impl Reaches {
    pub(crate) fn new(asked: Asked, goal: Goal) -> Self {
        Self {
            asked,
            goal,
            waiting: None,
        }
    }

    pub(crate) fn of_lsn(asked: Asked, lsn: Lsn) -> Self {
        Self::new(asked, Goal::Lsn(lsn))
    }
}

impl Future for Reaches {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let (asked, goal) = (&this.asked, this.goal);
        let look = |now: &_| asked.has_reached(now, goal).transpose();
        let published = &asked.published;
        match published.look_or_wake(&mut this.waiting, context.waker(), look) {
            Some(reached) => Poll::Ready(reached),
            None => Poll::Pending,
        }
    }
}

impl Drop for Reaches {
    fn drop(&mut self) {
        if let Some(number) = self.waiting {
            self.asked.published.give_up(number);
        }
    }
}
