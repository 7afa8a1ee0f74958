//! Results of past batches, for datasets; and workers that are built again.

use crate::batch::tick::Timed;
use crate::checkpointing::retained::Retained;
use crate::datasets::declared::joined_chunks;
use crate::datasets::lineage::DatasetLineage;
use crate::datasets::slot::Recompute;
use crate::engine_log::cut::Cut;
use crate::engine_log::log_view::LogView;
use crate::engine_log::program::Program;
use crate::engine_log::replay::Replay;
use crate::error::{Error, Result};
use crate::plan::program::Plan;
use crate::plan::source_stream::SourceStream;
use crate::recovery::metadata::read_metadata;
use crate::recovery::sources::SourcesOnDisk;
use crate::recovery::states::{begin, restore};
use crate::replay::executor::{ReplayExecutor, ReplaySettings};
use crate::replay::origin::{Known, Origin};
use crate::scheduler::rebuild::{Rebuild, Rebuilt};
use crate::settings::Settings;
use crate::state::key_group::KeyGroups;
use crate::state::table::block::RestoredState;
use highwater_checkpoint::{Checkpoint, CheckpointError};
use highwater_wal::Wal;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Computes results of past batches, one at a time.
#[derive(Debug)]
pub(crate) struct Replayer {
    pub(crate) settings: Settings,
    pub(crate) plan: Arc<Plan>,
    pub(crate) wal: Arc<Wal>,
    pub(crate) program: Program,
    /// Where windows are aligned, if there was a batch before this run.
    pub(crate) zero_ms: Option<u64>,
    pub(crate) key_groups: KeyGroups,
    pub(crate) retained: Arc<Retained>,
    /// Held while a result is computed: there is one more copy of the state, and no more.
    pub(crate) busy: Mutex<()>,
}

impl Replayer {
    fn known(&self) -> Known<'_> {
        Known {
            program: &self.program,
            interval_ms: self.settings.interval_ms(),
            zero_ms: self.zero_ms,
        }
    }

    /// Does `work` from the newest origin from which it can be done: the beginning of the log, or a
    /// checkpoint taken before batch `before`. `None` if neither reaches to the end of `batch`.
    fn with_newest_origin<R>(
        &self,
        batch: u64,
        before: u64,
        work: impl Fn(&Origin) -> Result<R>,
    ) -> Result<Option<R>> {
        loop {
            let checkpoints = self.retained.before(before);
            let newest = checkpoints.first().map(Checkpoint::number);
            if let Some(done) = self.with_one_of(checkpoints, batch, &work)? {
                return Ok(Some(done));
            }
            // All of them may have been retired meanwhile, for newer ones.
            let now = self.retained.before(before);
            if now.first().map(Checkpoint::number) == newest {
                break;
            }
        }
        let (wal, dir) = (&self.wal, &self.settings.dir);
        let origin = Origin::at_the_beginning(wal, dir, self.known(), batch)?;
        origin.map(|origin| work(&origin)).transpose()
    }

    /// Does `work` from the first of `checkpoints` that serves; `None` if none does.
    fn with_one_of<R>(
        &self,
        checkpoints: Vec<Checkpoint>,
        batch: u64,
        work: impl Fn(&Origin) -> Result<R>,
    ) -> Result<Option<R>> {
        for checkpoint in checkpoints {
            let number = checkpoint.number();
            let origin = Origin::at_checkpoint(
                &self.wal,
                &self.settings.dir,
                self.known(),
                checkpoint,
                batch,
            )?;
            let Some(origin) = origin else {
                continue;
            };
            match work(&origin) {
                // Damaged, or retired while it was read: an older one may do.
                Err(Error::Checkpoint(error @ CheckpointError::Damaged { .. })) => {
                    tracing::warn!(number, %error, "a past batch is computed again from an older checkpoint");
                }
                done => return done.map(Some),
            }
        }
        Ok(None)
    }

    fn out_of_reach(&self, name: &str, batch: u64) -> Error {
        Error::Dataset {
            name: name.to_owned(),
            batch,
            message: format!(
                "it is not kept, and neither a retained checkpoint nor the log reaches back to it. Retain more checkpoints with \
                 .retain_checkpoints(..) on the builder (it is {}), or keep results with .checkpoint(interval, keep) or .persist(max_bytes) \
                 on the datasets",
                self.settings.retain
            ),
        }
    }

    /// An executor of its own, with the state at `origin`.
    fn start(&self, origin: &Origin) -> Result<ReplayExecutor> {
        let (state, streams) = self.load(origin)?;
        let settings = ReplaySettings {
            workers: self.settings.workers.get(),
            key_groups: self.key_groups,
            chunk_size: self.settings.chunk_size,
            clock: Arc::clone(&self.settings.clock),
        };
        ReplayExecutor::start(Arc::clone(&self.plan), settings, state, streams)
    }

    fn run(&self, origin: &Origin, tap: usize) -> Result<Arc<[u8]>> {
        let mut executor = self.start(origin)?;
        let (nothing, wanted) = (Arc::default(), Arc::new(BTreeSet::from([tap])));
        let (last, before) = origin.batches.split_last().ok_or(Error::Stopped)?;
        let past = |timed: &Timed| origin.past(timed.batch.id);
        for batch in before {
            executor.run(&self.wal, *batch, &nothing, past(batch))?;
        }
        let mut completed = executor.run(&self.wal, *last, &wanted, past(last))?;
        joined_chunks(completed.tapped.remove(&tap).unwrap_or_default()).map_err(Error::Worker)
    }

    /// The state at an origin, and where the records of the sources are from there on: those of
    /// before a conversion need it, though those after the newest checkpoint may not.
    fn load(&self, origin: &Origin) -> Result<(BTreeMap<usize, RestoredState>, Vec<SourceStream>)> {
        let (mut state, mut metadata) = (BTreeMap::new(), None);
        if let Some(checkpoint) = &origin.checkpoint {
            let found = read_metadata(&self.settings, checkpoint)?;
            let restored = restore(
                &self.plan,
                &self.settings.states,
                checkpoint,
                &found,
                self.key_groups,
                self.settings.workers.get(),
            )?;
            state = restored.into_iter().map(|(i, s)| (i, s.groups)).collect();
            metadata = Some(found);
        }
        begin(&self.plan, self.key_groups, &mut state)?;
        let sources = SourcesOnDisk {
            plan: &self.plan,
            changes: &self.settings.sources,
            replay: &origin.log,
            positions: &BTreeMap::new(),
            metadata: metadata.as_ref(),
        };
        Ok((state, sources.streams(&self.program, self.wal.end_lsn())))
    }
}

impl Rebuild for Replayer {
    fn rebuild(&self, next: u64, is_cut_short: &dyn Fn() -> bool) -> Result<Rebuilt> {
        let last = next.saturating_sub(1);
        let rebuilt = self.with_newest_origin(last, next, |origin| {
            let (checkpoint, batches) = (origin.named(), origin.batches.len());
            tracing::warn!(
                ?checkpoint,
                batches,
                "the workers are built again, and batches replayed for their state"
            );
            let mut executor = self.start(origin)?;
            let (nothing, mut keys) = (Arc::default(), BTreeMap::new());
            for batch in &origin.batches {
                if is_cut_short() {
                    return Err(cannot_rebuild(next, "the context is stopping"));
                }
                let past = origin.past(batch.batch.id);
                keys.extend(executor.run(&self.wal, *batch, &nothing, past)?.keys);
            }
            let executor = executor.into_executor();
            Ok(Rebuilt { executor, keys })
        })?;
        let unreachable =
            "neither a retained checkpoint nor the log reaches back to what they held";
        rebuilt.ok_or_else(|| cannot_rebuild(next, unreachable))
    }
}

fn cannot_rebuild(batch: u64, message: &str) -> Error {
    Error::Rebuild {
        batch,
        message: message.to_owned(),
    }
}

impl Recompute for Replayer {
    fn recompute(&self, name: &str, tap: usize, batch: u64) -> Result<Arc<[u8]>> {
        let _one_at_a_time = self.busy.lock();
        let done = self.with_newest_origin(batch, batch, |origin| self.run(origin, tap))?;
        done.ok_or_else(|| self.out_of_reach(name, batch))
    }

    fn lineage(&self, name: &str, batch: u64) -> Result<DatasetLineage> {
        let lineage = self.with_newest_origin(batch, batch, |origin| {
            Ok(DatasetLineage::Recomputed {
                checkpoint: origin.named(),
                batches: origin.batches.len() as u64,
                bytes: origin.bytes(),
            })
        })?;
        lineage.ok_or_else(|| self.out_of_reach(name, batch))
    }

    fn batches(&self) -> Result<Vec<(u64, u64)>> {
        let (dir, first) = (&self.settings.dir, self.wal.first_lsn());
        let log = Replay::read(LogView::Open(&self.wal), dir, first, Some(&self.program))?;
        let batches = log.cuts.iter().flat_map(Cut::batches);
        Ok(batches
            .map(|timed| (timed.batch.id, timed.batch.time_ms))
            .collect())
    }
}
