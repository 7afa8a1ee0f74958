//! The input of one batch, on its way to the workers.

use crate::batch::chunk::Chunk;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// The chunks of the log that a batch has left. Workers take one at a time, in order, each as soon
/// as it is done with the one before: so all of them are at about the same place in the log, and
/// one slow chunk does not keep the others waiting. What a batch produces does not depend on who
/// takes which.
#[derive(Debug)]
pub(super) struct Feed {
    left: Mutex<VecDeque<Chunk>>,
}

impl Feed {
    pub(super) fn new(chunks: Vec<Chunk>) -> Self {
        Self {
            left: Mutex::new(chunks.into()),
        }
    }

    /// The next chunk; `None` when all were taken.
    pub(super) fn take(&self) -> Option<Chunk> {
        self.left.lock().pop_front()
    }
}
