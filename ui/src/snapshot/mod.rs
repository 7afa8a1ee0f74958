//! What a page shows, at one moment: its JSON twins are these structs as they are.
//!
//! Times are milliseconds since the Unix epoch, or lengths in milliseconds where the name says so;
//! sizes are bytes; positions are LSNs.
//!
//! | file | holds |
//! |---|---|
//! | `status` | the state line |
//! | `flow` | sources, batches, receivers, records that were refused |
//! | `kept` | checkpoints, lineage, log |
//! | `program` | operators, outputs, states, settings |

mod flow;
mod kept;
mod program;
mod status;

pub use flow::{Batch, Batches, DeadLetters, Receiver, Refused, SourceRow, Sources, Step};
pub use kept::{Checkpoint, Checkpoints, Hold, Lineage, LineagePoint, Log, Segment};
pub use program::{ErrorRow, Graph, Operator, Output, State};
pub use status::{Failure, Phase, Recovery, Status};

use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that a page shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// The state line.
    pub status: Status,
    /// What comes in, and how far behind batches are.
    pub sources: Sources,
    /// The newest batches.
    pub batches: Batches,
    /// The newest checkpoints.
    pub checkpoints: Checkpoints,
    /// What a crash would have to replay.
    pub lineage: Lineage,
    /// The log.
    pub log: Log,
    /// What receives.
    pub receivers: Vec<Receiver>,
    /// Records that operators have refused.
    pub dead_letters: DeadLetters,
    /// The program.
    pub graph: Graph,
    /// What went wrong lately, the newest first.
    pub errors: Vec<ErrorRow>,
    /// Settings, by their names.
    pub config: BTreeMap<String, String>,
}

/// What a page can be made of: a program that runs, a directory.
pub trait Observed: Send + Sync + 'static {
    /// What there is to see now. It may take a moment, and may look at a disk.
    ///
    /// # Errors
    /// Why nothing can be seen, for people.
    fn snapshot(&self) -> Result<Snapshot, String>;
}
