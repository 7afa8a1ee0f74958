//! What all connections share.

use crate::options::KafkaOptions;
use crate::topics::Topics;
use highwater_http::Meters;
use highwater_streams::Streams;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) streams: Arc<Streams>,
    pub(crate) topics: Topics,
    pub(crate) options: KafkaOptions,
    /// The identity of the log, as text.
    pub(crate) cluster: String,
    pub(crate) meters: Meters,
    /// Memory for requests and for answers.
    pub(crate) requests: Memory,
    pub(crate) answers: Memory,
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Door {
    /// Once the server is to end.
    pub(crate) async fn is_stopped(&self) {
        // A server that is gone has stopped.
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }
}

/// Bytes that may be in memory, in units of this.
const UNIT: usize = 1024;

/// A bound of memory. What finds no room waits for it, in turn.
#[derive(Debug)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    whole: u32,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let whole = u32::try_from((bytes / UNIT).max(1)).unwrap_or(u32::MAX);
        let permits = usize::try_from(whole).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            whole,
        }
    }

    /// Room for so many bytes, once there is. What is longer than all of it has all of it.
    pub(crate) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let units = units.min(self.whole);
        Arc::clone(&self.units).acquire_many_owned(units).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_finds_no_room_waits_and_what_is_too_long_has_all_of_it() {
        let memory = Memory::new(64 << 10);
        let half = now(memory.room(32 << 10)).unwrap().unwrap();
        assert!(now(memory.room((32 << 10) + 1)).is_none());
        let rest = now(memory.room(32 << 10)).unwrap().unwrap();
        assert!(now(memory.room(1)).is_none());
        drop((half, rest));
        let all = now(memory.room(1 << 40)).unwrap().unwrap();
        assert!(now(memory.room(1)).is_none());
        drop(all);
        assert!(now(memory.room(1)).is_some());
    }
}
