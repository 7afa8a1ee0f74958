//! Lineage: what would have to be replayed to rebuild the present.

use crate::batch::Batch;
use crate::observe::checkpoints::CheckpointStatus;
use crate::observe::recovering::pace::PaceMeter;
use crate::observe::recovering::recovery_costs::RecoveryCosts;
use crate::observe::status::Status;
use highwater_wal::{Lsn, Wal};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The batches since the newest checkpoint, as a value that can be printed. A checkpoint cuts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// The newest checkpoint and the last batch in it; `None` before the first: then everything is
    /// replayed.
    pub checkpoint: Option<(u64, u64)>,
    /// The time of that batch, in milliseconds since the Unix epoch: what a recovery would begin
    /// with is of then.
    pub checkpoint_time_ms: Option<u64>,
    /// The last batch that was completed, or was cut before this run began.
    pub last_batch: Option<u64>,
    /// The time of that batch, in milliseconds since the Unix epoch.
    pub last_batch_time_ms: Option<u64>,
    /// How many batches would be replayed. After a restart those that still are count too.
    pub depth: u64,
    /// Log bytes that would be read, those not yet in a batch included.
    pub bytes_to_replay: u64,
    /// From here.
    pub replay_from: Lsn,
    /// How long it takes to load the checkpoint: what the start took, for as many bytes as that one
    /// has; or decoding what was written, as far as it was seen before it was published, if that is
    /// more. Before a start has loaded a checkpoint, reading from the store is not in it.
    pub load_time: Duration,
    /// How long a recovery would take: loading, and replaying at the speed of this run's batches.
    /// `None` as long as there is something to replay and no batch with records was run.
    ///
    /// A batch without records costs what such batches took; what the others took longer counts by
    /// the bytes of their log. About the last twenty of each kind count. Outputs are in it, though
    /// a replay publishes none.
    pub estimated_recovery: Option<Duration>,
    /// How long it may take, where the program says that:
    /// [`CheckpointPolicy::recovery_target`](crate::CheckpointPolicy::recovery_target).
    pub target: Option<Duration>,
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.checkpoint {
            Some((number, batch)) => write!(f, "checkpoint {number} (batch {batch})")?,
            None => f.write_str("no checkpoint")?,
        }
        match self.last_batch {
            Some(last) if self.depth > 0 => {
                write!(f, " <- {} batches to batch {last}", self.depth)?
            }
            _ => f.write_str(" <- nothing to replay")?,
        }
        write!(
            f,
            ", {} bytes of log from LSN {}",
            self.bytes_to_replay, self.replay_from
        )?;
        if let Some(time) = self.estimated_recovery {
            write!(f, ", recovery in about {} ms", time.as_millis())?;
        }
        if let Some(target) = self.target {
            write!(f, " (target {} ms)", target.as_millis())?;
        }
        Ok(())
    }
}

/// From what the lineage is told.
#[derive(Debug)]
pub(crate) struct LineageReader {
    pub(crate) checkpoints: Arc<CheckpointStatus>,
    pub(crate) status: Arc<Status>,
    pub(crate) pace: Arc<PaceMeter>,
    pub(crate) wal: Arc<Wal>,
    /// Where replay begins without a checkpoint of this run or before it.
    pub(crate) replay_from: Lsn,
    /// The newest batch that was cut before this run.
    pub(crate) found: Option<Batch>,
    pub(crate) target: Option<Duration>,
}

impl LineageReader {
    /// What would have to be replayed after a crash right now.
    pub(crate) fn now(&self) -> Lineage {
        self.after(self.status.last())
    }

    /// The same, where `last` is the last batch that was completed.
    pub(crate) fn after(&self, last: Option<Batch>) -> Lineage {
        let newest = self.checkpoints.newest();
        let replay_from = newest.map_or(self.replay_from, |(_, batch)| batch.to);
        let covered = newest.map_or(0, |(_, batch)| batch.id);
        let bytes_to_replay = self.wal.durable_lsn().bytes_since(replay_from);
        // After a restart batches are known that were not run again yet.
        let last = [last, self.found].into_iter().flatten();
        let last = last.max_by_key(|batch| batch.id);
        let depth = last.map_or(0, |last| last.id.saturating_sub(covered));
        let load = self.checkpoints.load_time();
        let estimated_recovery = match (bytes_to_replay, self.pace.pace()) {
            (0, _) => Some(load),
            (bytes, Some(pace)) => {
                let writing = Duration::ZERO;
                let costs = RecoveryCosts {
                    load,
                    writing,
                    pace,
                };
                Some(costs.of(depth, bytes))
            }
            (_, None) => None,
        };
        Lineage {
            checkpoint: newest.map(|(number, batch)| (number, batch.id)),
            checkpoint_time_ms: newest.map(|(_, batch)| batch.time_ms),
            last_batch: last.map(|last| last.id),
            last_batch_time_ms: last.map(|last| last.time_ms),
            depth,
            bytes_to_replay,
            replay_from,
            load_time: load,
            estimated_recovery,
            target: self.target,
        }
    }
}
