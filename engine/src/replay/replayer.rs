//! Results of past batches, for datasets.

use crate::checkpointing::retained::Retained;
use crate::datasets::declared::joined_chunks;
use crate::datasets::lineage::DatasetLineage;
use crate::datasets::slot::Recompute;
use crate::engine_log::cut::Cut;
use crate::engine_log::program::Program;
use crate::engine_log::replay::Replay;
use crate::error::{Error, Result};
use crate::plan::program::Plan;
use crate::plan::source_stream::SourceStream;
use crate::recovery::recover::read_metadata;
use crate::recovery::sources::SourcesOnDisk;
use crate::recovery::states::{begin, restore};
use crate::replay::executor::{ReplayExecutor, ReplaySettings};
use crate::replay::origin::{Known, Origin};
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

    /// Does `work` from the newest origin from which it can be done.
    fn with_newest_origin<R>(
        &self,
        name: &str,
        batch: u64,
        work: impl Fn(&Origin) -> Result<R>,
    ) -> Result<R> {
        loop {
            let checkpoints = self.retained.before(batch);
            let newest = checkpoints.first().map(Checkpoint::number);
            if let Some(done) = self.with_one_of(checkpoints, batch, &work)? {
                return Ok(done);
            }
            // All of them may have been retired meanwhile, for newer ones.
            let now = self.retained.before(batch);
            if now.first().map(Checkpoint::number) == newest {
                break;
            }
        }
        match Origin::at_the_beginning(&self.wal, &self.settings.dir, self.known(), batch)? {
            Some(origin) => work(&origin),
            None => Err(self.out_of_reach(name, batch)),
        }
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

    fn run(&self, origin: &Origin, tap: usize) -> Result<Arc<[u8]>> {
        let (state, streams) = self.load(origin)?;
        let settings = ReplaySettings {
            workers: self.settings.workers.get(),
            key_groups: self.key_groups,
            chunk_size: self.settings.chunk_size,
        };
        let first = origin.batches.first().map_or(1, |timed| timed.batch.id);
        let plan = Arc::clone(&self.plan);
        let mut executor = ReplayExecutor::start(plan, settings, first, state, streams)?;
        let (nothing, wanted) = (Arc::default(), Arc::new(BTreeSet::from([tap])));
        let (last, before) = origin.batches.split_last().ok_or(Error::Stopped)?;
        for batch in before {
            executor.run(&self.wal, *batch, &nothing)?;
        }
        let mut completed = executor.run(&self.wal, *last, &wanted)?;
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

impl Recompute for Replayer {
    fn recompute(&self, name: &str, tap: usize, batch: u64) -> Result<Arc<[u8]>> {
        let _one_at_a_time = self.busy.lock();
        self.with_newest_origin(name, batch, |origin| self.run(origin, tap))
    }

    fn lineage(&self, name: &str, batch: u64) -> Result<DatasetLineage> {
        self.with_newest_origin(name, batch, |origin| {
            Ok(DatasetLineage::Recomputed {
                checkpoint: origin.named(),
                batches: origin.batches.len() as u64,
                bytes: origin.bytes(),
            })
        })
    }

    fn batches(&self) -> Result<Vec<(u64, u64)>> {
        let (dir, first) = (&self.settings.dir, self.wal.first_lsn());
        let log = Replay::read(&self.wal, dir, first, Some(&self.program))?;
        let batches = log.cuts.iter().flat_map(Cut::batches);
        Ok(batches
            .map(|timed| (timed.batch.id, timed.batch.time_ms))
            .collect())
    }
}
