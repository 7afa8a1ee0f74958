//! From where a batch can be computed again, and the state after it.

use crate::batch::tick::Timed;
use crate::engine_log::cut::Cut;
use crate::engine_log::log_view::LogView;
use crate::engine_log::program::Program;
use crate::engine_log::replay::Replay;
use crate::error::{Error, Result};
use crate::replay::executor::Past;
use highwater_checkpoint::Checkpoint;
use highwater_wal::{Lsn, RetentionGuard, Wal, WalError};
use std::path::Path;

/// What keeps the log meanwhile, as `Wal::holds` names it.
const HOLD: &str = "a past batch that is computed again";

/// What is known of the directory beside the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) program: &'a Program,
    /// The interval and the zero of batches of version 1.
    pub(crate) interval_ms: u64,
    pub(crate) zero_ms: Option<u64>,
}

/// From where the state after a batch can be had again, and what the log holds from there on.
#[derive(Debug)]
pub(crate) struct Origin {
    /// `None` for the beginning of the log, without state.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The batches to run, in order; the last one is the one that is wanted. None if the origin is
    /// at its end.
    pub(crate) batches: Vec<Timed>,
    pub(crate) log: Replay,
    /// Keeps the log from there on.
    _kept: RetentionGuard,
}

impl Origin {
    /// Begins at a checkpoint before or after batch `wanted`; `None` if the log does not reach back
    /// to it any more.
    pub(crate) fn at_checkpoint(
        wal: &Wal,
        dir: &Path,
        known: Known<'_>,
        checkpoint: Checkpoint,
        wanted: u64,
    ) -> Result<Option<Self>> {
        let after = checkpoint.manifest().batch.id;
        let from = Lsn::new(checkpoint.lsn());
        Self::at(wal, dir, known, (from, Some(checkpoint)), after, wanted)
    }

    /// Begins where the log does; `None` if that is after batch 1.
    pub(crate) fn at_the_beginning(
        wal: &Wal,
        dir: &Path,
        known: Known<'_>,
        wanted: u64,
    ) -> Result<Option<Self>> {
        Self::at(wal, dir, known, (wal.first_lsn(), None), 0, wanted)
    }

    fn at(
        wal: &Wal,
        dir: &Path,
        known: Known<'_>,
        (from, checkpoint): (Lsn, Option<Checkpoint>),
        after: u64,
        wanted: u64,
    ) -> Result<Option<Self>> {
        let kept = match wal.retain_as(from, HOLD) {
            Ok(kept) => kept,
            Err(WalError::Truncated { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut log = Replay::read(LogView::Open(wal), dir, from, Some(known.program))?;
        log.complete_version_1(known.interval_ms, known.zero_ms);
        let batches = log.cuts.iter().flat_map(Cut::batches);
        let batches: Vec<Timed> = batches
            .skip_while(|timed| timed.batch.id <= after)
            .take_while(|timed| timed.batch.id <= wanted)
            .collect();
        let first = batches.first().map(|timed| timed.batch);
        let reaches = match first {
            Some(first) => first.id == after + 1 && first.from >= from,
            None => after == wanted,
        };
        if !reaches {
            return Ok(None);
        }
        match batches.last().map_or(after, |last| last.batch.id) {
            last if last == wanted => Ok(Some(Self {
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

    /// What the log says of a batch.
    pub(crate) fn past(&self, batch: u64) -> Past<'_> {
        let cuts = &self.log.cuts;
        let cut = cuts.partition_point(|cut| cut.last.batch.id < batch);
        let cut = cuts.get(cut).filter(|cut| cut.last.batch.id == batch);
        Past {
            refused: self.log.refused.get(&batch),
            ranges: cut.map_or(&[], |cut| &cut.sources),
        }
    }

    /// Log bytes of the batches to run.
    pub(crate) fn bytes(&self) -> u64 {
        let batches = self.batches.iter();
        let bytes = batches.map(|timed| timed.batch.to.bytes_since(timed.batch.from));
        bytes.sum()
    }
}
