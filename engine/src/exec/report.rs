//! What a worker reports to the driver, over a channel. Work goes to the workers as a command and
//! comes back as reports: they share no batch, only the number of the one that failed.

use crate::batch::chunk::Chunk;
use crate::observe::hot_key::HotKey;
use crate::observe::states::KeyCounts;
use crate::plan::failed::Failed;
use crate::refused::noted::Noted;
use crate::state::table::shared::reading::SharedGroup;
use std::thread::Thread;

/// A report of a worker. It is data that could cross the border of a process. The exceptions are
/// the chunks of outputs, whose records have erased types, and the handle of a thread.
#[derive(Debug)]
pub(super) enum Report {
    /// The worker has built the dataflow; its thread is unparked when commands are sent. Of its
    /// states, what readers look at: by state.
    Ready(Thread, Vec<(usize, SharedGroup)>),
    /// Chunks that arrived at an output.
    Output { output: usize, chunks: Vec<Chunk> },
    /// Chunks that arrived at a tap.
    Tapped { tap: usize, chunks: Vec<Chunk> },
    /// What operators added to counters, by counter.
    Counted(Vec<u64>),
    /// A key that has most of the values of a batch.
    HotKey(HotKey),
    /// Records that operators have refused.
    Refused(Vec<Noted>),
    /// How many keys of a state the worker has, after a batch that has changed that.
    Keys {
        state: usize,
        worker: usize,
        counts: KeyCounts,
    },
    /// User code failed.
    Failed {
        /// The attempt.
        epoch: u64,
        failed: Failed,
    },
    /// How far all workers are, as this one sees it.
    Progress {
        /// Every epoch below is complete.
        done: u64,
    },
    /// A worker has ended, and why.
    Ended(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::batch::tick::Tick;
    use crate::batch::work::{Purpose, Shown, Work};
    use crate::codec::message_pack;
    use crate::error::BatchFailure;
    use crate::plan::failed::Remedy;
    use highwater_wal::Lsn;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    fn crossed<T: Serialize + DeserializeOwned>(value: &T) -> T {
        message_pack::decode(&message_pack::encode(value).unwrap()).unwrap()
    }

    #[test]
    fn work_state_and_failures_could_cross_the_border_of_a_process() {
        let batch = Batch {
            id: 7,
            time_ms: 1000,
            from: Lsn::new(8),
            to: Lsn::new(64),
        };
        let work = Work {
            batch,
            tick: Tick::of_version_1(1000, 1000, 0),
            purpose: Purpose::Rebuild,
            published: Some(3),
            shown: Shown::before(7),
        };
        assert_eq!(crossed(&work), work);
        let failed = Failed {
            why: BatchFailure {
                batch,
                operator: "map (main.rs:7)".to_owned(),
                lsn: Some(Lsn::new(16)),
                key: None,
                message: "panicked: on purpose".to_owned(),
                attempts: 1,
            },
            remedy: Remedy::Rebuild,
        };
        assert_eq!(crossed(&failed), failed);
    }
}
