//! What a process says of itself: the events of a trace. A model's step and a program's log give
//! the same ones.

use serde::{Deserialize, Serialize};

/// One thing that has happened, at one process.
///
/// The events of all processes in one order make a trace. The order must be one in which they can
/// have happened: what an event depends on comes before it. One file that all processes append to
/// under a lock gives such an order, if each writes an event after the thing is durable and
/// before it tells anyone of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Index of the process.
    pub process: usize,
    /// Number of the generation in which the process takes part; 0 if in none.
    pub generation: u64,
    /// What has happened.
    pub what: What,
}

/// What can happen. Positions are those of the process's own log: the records before them are
/// counted, or their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum What {
    /// It has started, with the log of this identity, whose durable part ends at `end`.
    Booted {
        /// Identity of the log; another one if the log was lost.
        log: u64,
        /// Where the log ends.
        end: u64,
    },
    /// The log is durable up to `end`. A program need not say this: cuts and acknowledgements do.
    Durable {
        /// Where the durable part ends.
        end: u64,
    },
    /// Senders have been told that everything before `end` is safe.
    Acknowledged {
        /// What was told.
        end: u64,
    },
    /// It takes part in the event's generation: its state is as at the end of batch `restored`.
    Joined {
        /// The batch whose end the state is.
        restored: u64,
    },
    /// The cut that ends batch `batch` is durable in its log.
    Cut {
        /// The batch that ends here.
        batch: u64,
        /// Position of the cut.
        end: u64,
        /// Nothing is acknowledged after it until a later generation begins.
        last: bool,
    },
    /// It has handed its part of a batch, `[from, to)` of its log, to the exchange: to run it, or
    /// to rebuild state.
    Fed {
        /// The batch.
        batch: u64,
        /// Where its part begins.
        from: u64,
        /// Where its part ends.
        to: u64,
    },
    /// Its output of a batch is durable, and not visible.
    Staged {
        /// The batch.
        batch: u64,
        /// Digest of the output.
        part: u64,
        /// How far each log was counted in the state before the batch; empty if the program does
        /// not know.
        counted: Vec<u64>,
    },
    /// Process 0: it is durable that the batch's outputs will be published.
    Committed {
        /// The batch.
        batch: u64,
    },
    /// Its output of a batch is visible.
    Published {
        /// The batch.
        batch: u64,
        /// Digest of the output.
        part: u64,
    },
    /// Its state at the end of a batch is in the store, under the event's generation.
    Saved {
        /// The batch.
        batch: u64,
        /// How far each log is counted in it; empty if the program does not know.
        counted: Vec<u64>,
    },
    /// Process 0 has created the manifest that begins the event's generation.
    Started(Manifest),
    /// Process 0 has created the manifest of a new checkpoint.
    Checkpointed(Manifest),
    /// Process 0 has removed the manifests below a number.
    Retired {
        /// The lowest number that is left.
        below: u64,
    },
    /// Its log has lost what lies before the cut of this batch.
    Truncated {
        /// The batch.
        batch: u64,
    },
    /// It has left the event's generation, and waits for another.
    Left,
    /// It is dead, and what was not durable is lost.
    Crashed,
    /// Its log is gone; the next one has another identity.
    LogLost,
    /// Process 0 refuses to begin a generation.
    Refused {
        /// The reason.
        why: String,
    },
    /// It has ended as it should.
    Done,
}

/// A numbered file of the store, which can be created once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Manifest {
    /// Starts and checkpoints share one sequence of numbers.
    pub number: u64,
    /// The generation that wrote it.
    pub generation: u64,
    /// The incarnation of process 0 that wrote it.
    pub writer: u64,
    /// The lowest number that counts beside it. A lower one that is found in the store is
    /// garbage: a late write, into the place of one that was removed.
    pub oldest: u64,
    /// It begins its generation, and keeps the checkpoint.
    pub start: bool,
    /// The batch whose end the checkpoint is.
    pub batch: u64,
    /// The generation whose state files it names; 0 if there are none yet.
    pub files: u64,
    /// The run to which the generation belongs: an operator starts a new one after an orderly end.
    pub run: u64,
    /// The program has ended in an orderly way, and `batch` was the last one.
    pub ended: bool,
    /// No log has anything acknowledged behind `batch`: the number of processes may change.
    pub drained: bool,
    /// The processes that take part.
    pub members: Vec<Member>,
}

/// What a manifest says of one process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Index of the process.
    pub process: usize,
    /// Identity of its log.
    pub log: u64,
    /// Position of the cut of the manifest's batch in it.
    pub position: u64,
}

impl Manifest {
    /// What it says of a process.
    pub fn member(&self, process: usize) -> Option<&Member> {
        self.members.iter().find(|m| m.process == process)
    }
}
