//! Lineage: what would have to be replayed to rebuild the present.

use highwater_wal::Lsn;
use std::fmt;
use std::time::Duration;

/// The batches since the newest checkpoint, as a value that can be printed. A checkpoint cuts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// The newest checkpoint and the last batch in it; `None` before the first: then everything is
    /// replayed.
    pub checkpoint: Option<(u64, u64)>,
    /// The last batch that was completed, or was cut before this run began.
    pub last_batch: Option<u64>,
    /// How many batches would be replayed. After a restart those that still are count too.
    pub depth: u64,
    /// Log bytes that would be read, those not yet in a batch included.
    pub bytes_to_replay: u64,
    /// From here.
    pub replay_from: Lsn,
    /// How long it takes to load the checkpoint: what the start took, or reading back the newest
    /// one before it was published.
    pub load_time: Duration,
    /// How long a recovery would take: loading, and replaying at the speed seen so far. `None` as
    /// long as there is something to replay and no batch with data was run.
    pub estimated_recovery: Option<Duration>,
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
        Ok(())
    }
}
