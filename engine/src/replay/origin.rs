//! From where a batch can be computed again.

use crate::batch::Batch;
use crate::engine_log::replay::Replay;
use crate::error::{Error, Result};
use highwater_checkpoint::Checkpoint;
use highwater_wal::{Lsn, RetentionGuard, Wal, WalError};
use std::path::Path;

/// What keeps the log meanwhile, as `Wal::holds` names it.
const HOLD: &str = "a past batch that is computed again";

/// From where a batch can be computed again, and what the log holds from there on.
#[derive(Debug)]
pub(crate) struct Origin {
    /// `None` for the beginning of the log, without state.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The batches to run, in order; the last one is the one that is wanted.
    pub(crate) batches: Vec<Batch>,
    pub(crate) log: Replay,
    /// Keeps the log from there on.
    _kept: RetentionGuard,
}

impl Origin {
    /// Begins at a checkpoint before batch `wanted`; `None` if the log does not reach back to it
    /// any more.
    pub(crate) fn at_checkpoint(
        wal: &Wal,
        dir: &Path,
        checkpoint: Checkpoint,
        wanted: u64,
    ) -> Result<Option<Self>> {
        let after = checkpoint.manifest().batch.id;
        let from = Lsn::new(checkpoint.lsn());
        Self::at(wal, dir, from, Some(checkpoint), after, wanted)
    }

    /// Begins where the log does; `None` if that is after batch 1.
    pub(crate) fn at_the_beginning(wal: &Wal, dir: &Path, wanted: u64) -> Result<Option<Self>> {
        Self::at(wal, dir, wal.first_lsn(), None, 0, wanted)
    }

    fn at(
        wal: &Wal,
        dir: &Path,
        from: Lsn,
        checkpoint: Option<Checkpoint>,
        after: u64,
        wanted: u64,
    ) -> Result<Option<Self>> {
        let kept = match wal.retain_as(from, HOLD) {
            Ok(kept) => kept,
            Err(WalError::Truncated { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let log = Replay::read(wal, dir, from)?;
        let cuts = log.cuts.iter().copied();
        let batches: Vec<Batch> = cuts
            .filter(|cut| cut.id > after && cut.id <= wanted)
            .collect();
        let first = batches.first();
        if first.is_none_or(|first| first.id != after + 1 || first.from < from) {
            return Ok(None);
        }
        match batches.last() {
            Some(last) if last.id == wanted => Ok(Some(Self {
                checkpoint,
                batches,
                log,
                _kept: kept,
            })),
            _ => Err(Error::EngineLog {
                dir: dir.to_owned(),
                lsn: from,
                what: format!("the log has no cut of batch {wanted}, which has finished"),
            }),
        }
    }

    /// The checkpoint and the last batch in it.
    pub(crate) fn named(&self) -> Option<(u64, u64)> {
        let checkpoint = self.checkpoint.as_ref()?;
        Some((checkpoint.number(), checkpoint.manifest().batch.id))
    }

    /// Log bytes of the batches to run.
    pub(crate) fn bytes(&self) -> u64 {
        let batches = self.batches.iter();
        batches.map(|batch| batch.to.bytes_since(batch.from)).sum()
    }
}
