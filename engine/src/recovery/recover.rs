//! Recovery: the newest valid checkpoint, then what the log holds after it, checked against the
//! program.
//!
//! Nothing is written before every check has passed.

use crate::batch::Batch;
use crate::batch::tick::Timed;
use crate::checkpointing::capture::Whole;
use crate::engine_log::cut::Cut;
use crate::engine_log::ledger::{Frames, Ledger, Settled};
use crate::engine_log::log_view::LogView;
use crate::engine_log::program::Program;
use crate::error::Result;
use crate::plan::program::Plan;
use crate::plan::source_stream::SourceStream;
use crate::recovery::compared::report;
use crate::recovery::found::Found;
use crate::recovery::outputs::BatchInDoubt;
use crate::recovery::report::RecoveryReport;
use crate::recovery::states::{migrations, whole};
use crate::recovery::stores::Stores;
use crate::refused::lists::Refused;
use crate::settings::Settings;
use crate::state::key_group::KeyGroups;
use crate::state::table::block::RestoredState;
use highwater_checkpoint::Checkpoints;
use highwater_wal::{Lsn, StreamId, Wal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything that was found on disk, and what follows from it.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) wal: Arc<Wal>,
    pub(crate) checkpoints: Checkpoints,
    /// The checkpoint started from: number, batch, LSN.
    pub(crate) checkpoint: Option<(u64, Timed)>,
    pub(crate) program: Program,
    /// The key groups, with the seed of the application.
    pub(crate) key_groups: KeyGroups,
    /// Whether `program` must be written into the log.
    pub(crate) program_is_new: bool,
    /// The stream of each source of the program.
    pub(crate) streams: Vec<SourceStream>,
    /// What was found, for people.
    pub(crate) report: RecoveryReport,
    /// Migrations that each state has gone through, by name.
    pub(crate) migrations: BTreeMap<String, usize>,
    /// How many calls of the program drop a state, by name.
    pub(crate) dropped: BTreeMap<String, usize>,
    /// How many keys of each state were restored.
    pub(crate) keys: BTreeMap<usize, u64>,
    /// The states that the next checkpoint may not build upon.
    pub(crate) whole: Whole,
    /// Decoded state by state and key group.
    pub(crate) state: BTreeMap<usize, RestoredState>,
    /// The sources as of the checkpoint ...
    settled: BTreeMap<StreamId, Settled>,
    /// ... and what the log after it has of them.
    frames: BTreeMap<StreamId, Frames>,
    /// The newest frame of a source after the checkpoint.
    pub(crate) newest_data: Option<Lsn>,
    /// Where windows are aligned, if there was a batch.
    pub(crate) zero_ms: Option<u64>,
    /// Batches to replay, in order.
    pub(crate) cuts: Vec<Cut>,
    /// The newest batch whose outputs were committed.
    pub(crate) committed: Option<u64>,
    /// Names in the program that took the checkpoint.
    pub(crate) known_names: BTreeSet<String>,
    /// The newest committed batch in which each output of the program was called.
    pub(crate) called: BTreeMap<String, u64>,
    /// The newest committed batch, if its outputs may not be published.
    pub(crate) in_doubt: Option<BatchInDoubt>,
    /// What committed batches have refused.
    pub(crate) refused: BTreeMap<u64, Refused>,
    /// Logs whose place this one has taken, as the manifest has them.
    pub(crate) predecessors: Vec<String>,
}

impl Recovered {
    /// Opens log and checkpoints and checks that the program fits them.
    pub(crate) fn open(settings: &Settings, plan: &Plan) -> Result<Self> {
        let began = settings.clock.now();
        let Stores {
            wal,
            checkpoints,
            checkpoint,
        } = Stores::open(settings)?;
        let found = Found::read(
            settings,
            plan,
            LogView::Open(&wal),
            checkpoint.as_ref(),
            None,
        )?;
        let report = report(settings, plan, &found, checkpoint.as_ref());
        let Found {
            checkpoint,
            states,
            metadata,
            replay,
            ..
        } = found;
        Ok(Self {
            report: RecoveryReport {
                loaded_in: settings.clock.now().saturating_sub(began),
                ..report
            },
            called: found.called,
            whole: whole(plan, &checkpoints, checkpoint.map(|(n, _)| n), &states),
            wal,
            checkpoints,
            checkpoint,
            program_is_new: found.before.as_ref() != Some(&found.program),
            program: found.program,
            key_groups: found.key_groups,
            streams: found.streams,
            migrations: migrations(plan, &settings.states, &metadata.migrations),
            dropped: settings.states.drops(),
            keys: states.iter().map(|(i, s)| (*i, s.keys)).collect(),
            state: states.into_iter().map(|(i, s)| (i, s.groups)).collect(),
            settled: found.settled,
            frames: replay.frames,
            newest_data: replay.newest_data,
            zero_ms: found.zero_ms,
            cuts: replay.cuts,
            committed: found.committed,
            known_names: metadata.names(),
            predecessors: metadata.predecessors,
            in_doubt: found.in_doubt,
            refused: replay.refused,
        })
    }

    /// Where the batch that is being filled began.
    pub(crate) fn last_cut(&self) -> Lsn {
        let last = self.last();
        last.map_or_else(|| self.wal.first_lsn(), |last| last.batch.to)
    }

    /// The last batch that was cut.
    pub(crate) fn last(&self) -> Option<Timed> {
        let checkpointed = self.checkpoint.map(|(_, at)| at);
        self.cuts.last().map(|cut| cut.last).or(checkpointed)
    }

    /// The batches that are known: the checkpoint's and those after it.
    pub(crate) fn batches(&self) -> Arc<[Batch]> {
        let checkpointed = self.checkpoint.map(|(_, at)| at);
        let after = self.cuts.iter().flat_map(Cut::batches);
        let all = checkpointed.into_iter().chain(after);
        all.map(|timed| timed.batch).collect()
    }

    /// From where replay starts.
    pub(crate) fn replay_from(&self) -> Lsn {
        self.checkpoint
            .map_or_else(|| self.wal.first_lsn(), |(_, at)| at.batch.to)
    }

    /// The number of the next record of each source as of the checkpoint, also of those that the
    /// program does not have.
    pub(crate) fn numbers(&self) -> BTreeMap<String, u64> {
        let sources = self.program.sources.iter();
        let known = sources.filter_map(|(name, stream)| {
            let settled = self.settled.get(&StreamId(*stream))?;
            Some((name.clone(), settled.next_number))
        });
        known.filter(|(_, next)| *next > 0).collect()
    }

    /// What is known of the producers of a source.
    pub(crate) fn ledger(&self, stream: StreamId) -> Ledger {
        let settled = self.settled.get(&stream).cloned().unwrap_or_default();
        let frames = self.frames.get(&stream).cloned().unwrap_or_default();
        Ledger::new(settled, frames)
    }
}
