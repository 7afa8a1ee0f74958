//! The second half of an answer.

use crate::wire::error::Code;
use std::future::Future;
use std::pin::Pin;
use tokio::sync::OwnedSemaphorePermit;

/// What a client is told.
#[derive(Debug)]
pub(crate) struct Reply {
    /// With its length before it; nothing for a request that wants no answer.
    pub(crate) bytes: Vec<u8>,
    /// For the meters.
    pub(crate) code: Code,
    /// Whether the connection goes on.
    pub(crate) then: Then,
    /// Memory that it has a share of, until it is written.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// What comes after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    /// The connection ends. What its client has sent behind a request that it is to send again is
    /// not looked at: stored, it would come before that one, and leave a gap.
    Close,
}

/// A reply, when it may be told.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;

impl Reply {
    pub(crate) fn new(bytes: Vec<u8>, code: Code) -> Self {
        Self {
            bytes,
            code,
            then: Then::GoOn,
            _room: None,
        }
    }

    /// A reply that is known at once.
    pub(crate) fn now(self) -> Answer {
        Box::pin(std::future::ready(self))
    }
}
