//! A second executor on the plan, with state of its own.

use crate::batch::chunk_size::ChunkSize;
use crate::batch::input;
use crate::batch::source_range::SourceRange;
use crate::batch::tick::Timed;
use crate::batch::work::{Purpose, Shown, Work};
use crate::error::Result;
use crate::exec::completed::Completed;
use crate::exec::executor::Executor;
use crate::plan::batch_scope::BatchScope;
use crate::plan::program::Plan;
use crate::plan::source_stream::SourceStream;
use crate::refused::lists::Refused;
use crate::state::key_group::KeyGroups;
use crate::state::table::block::RestoredState;
use crate::variables::declared::variable_failed;
use crate::variables::values::Values;
use highwater_wal::Wal;
use highwater_wal::disk::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Runs batches that were run before: same plan, same input, state and variables of its own, no
/// outputs. Nothing that it does is seen by the batches that run now.
#[derive(Debug)]
pub(crate) struct ReplayExecutor {
    plan: Arc<Plan>,
    executor: Executor,
    values: Arc<Values>,
    streams: Arc<Vec<SourceStream>>,
    settings: ReplaySettings,
}

/// What the log says of a batch that has run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Past<'a> {
    /// What it has refused when it was committed.
    pub(crate) refused: Option<&'a Refused>,
    /// What it has of sources that keep their own data.
    pub(crate) ranges: &'a [SourceRange],
}

/// How a replay is run.
#[derive(Debug, Clone)]
pub(crate) struct ReplaySettings {
    pub(crate) workers: usize,
    pub(crate) key_groups: KeyGroups,
    /// As that of the batches that run now: how a batch is split may show in its results.
    pub(crate) chunk_size: ChunkSize,
    pub(crate) clock: Arc<dyn Clock>,
}

impl ReplayExecutor {
    /// Starts threads with the state as of the end of the batch before the first one that runs.
    /// `streams` says where the records of the sources are.
    pub(crate) fn start(
        plan: Arc<Plan>,
        settings: ReplaySettings,
        mut state: BTreeMap<usize, RestoredState>,
        streams: Vec<SourceStream>,
    ) -> Result<Self> {
        let values = plan.variables.restore(&mut state);
        let values = Arc::new(values.map_err(variable_failed)?);
        // Results of other batches are no state of this run.
        for slot in &plan.datasets.slots {
            state.remove(&slot.state);
        }
        Ok(Self {
            executor: Executor::start(
                Arc::clone(&plan),
                settings.key_groups,
                settings.workers,
                state,
                Arc::clone(&settings.clock),
            )?,
            plan,
            values,
            streams: Arc::new(streams),
            settings,
        })
    }

    /// The workers, with the state as of the end of the last batch that ran.
    pub(crate) fn into_executor(self) -> Executor {
        self.executor
    }

    /// Runs the next batch; `wanted` are the taps of datasets whose records it is to give.
    pub(crate) fn run(
        &mut self,
        wal: &Wal,
        Timed { batch, tick }: Timed,
        wanted: &Arc<BTreeSet<usize>>,
        past: Past<'_>,
    ) -> Result<Completed> {
        let work = Work {
            batch,
            tick,
            purpose: Purpose::Rebuild,
            published: None,
            shown: Shown::before(batch.id),
        };
        let scope = BatchScope {
            visible: self.plan.variables.visible(&self.values),
            wanted: Arc::clone(wanted),
            streams: Some(Arc::clone(&self.streams)),
            refusals: self.plan.refusing.honour(past.refused),
        };
        let input = input::chunks(wal, &batch, self.settings.chunk_size, past.ranges)?;
        let mut completed = self.executor.run(work, input, &scope)?;
        if let Some(failure) = completed.failure {
            return Err(failure.why.into());
        }
        let Completed {
            counted, tapped, ..
        } = &mut completed;
        let values = self.plan.variables.after(&self.values, counted, tapped);
        self.values = Arc::new(values.map_err(variable_failed)?);
        Ok(completed)
    }
}
