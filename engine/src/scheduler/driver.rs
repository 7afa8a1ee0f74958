//! The driver: cuts batches, runs them, commits their outputs, takes checkpoints. One thread, in
//! order.
//!
//! The durable steps of a batch come in this order. Every crash argument in `docs/guarantees.md`
//! rests on it. Cut durable -> run -> every output staged -> `committed` durable -> every output
//! published -> checkpoint may be taken -> checkpoint published -> log truncated to what the oldest
//! retained checkpoint needs.
//!
//! The workers run the next batch while the outputs of this one are staged and published, if the
//! cut of the next one is durable. That changes memory alone: its own outputs are staged after this
//! one's are published. So a crash, or an output that fails, finds on disk what it would find
//! without that.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::batch::chunk_size::ChunkSize;
use crate::batch::tick::Timed;
use crate::batch::work::{Purpose, Snapshot, Work};
use crate::checkpointing::checkpointer::Checkpointer;
use crate::checkpointing::writer::Capture;
use crate::error::Result;
use crate::exec::completed::Completed;
use crate::exec::executor::Executor;
use crate::ingest::admission::Admission;
use crate::ingest::source_context::SourceContext;
use crate::observe::states::StateCounts;
use crate::plan::batch_scope::BatchScope;
use crate::scheduler::commit::Committer;
use crate::scheduler::side_values::SideValues;
use highwater_wal::Wal;
use std::sync::Arc;
use std::time::Duration;

/// Runs batches.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) admission: Arc<Admission>,
    pub(crate) executor: Executor,
    pub(crate) committer: Committer,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) side: SideValues,
    pub(crate) sources: Vec<SourceContext>,
    /// Batches up to this one were committed before the start.
    pub(crate) committed: Option<u64>,
    /// For observers.
    pub(crate) states: Arc<StateCounts>,
    pub(crate) chunk_size: ChunkSize,
    /// The batch that the workers began while the one before was committed.
    pub(crate) begun: Option<Begun>,
}

/// A batch that the workers run.
#[derive(Debug)]
pub(crate) struct Begun {
    work: Work,
    scope: BatchScope,
}

impl Driver {
    fn wal(&self) -> &Wal {
        &self.admission.wal
    }

    /// Runs a batch up to its commit, and then a checkpoint if one is due or `snapshot` asks for
    /// it. Returns what the batch was run for, and how long that took.
    ///
    /// `next` tells the batch after this one, if its cut is durable. The workers begin it while
    /// this one is committed; `run` must be called for it next. Not if a checkpoint is taken, nor
    /// in a program with variables or datasets, whose values this batch must give to the next.
    pub(crate) fn run(
        &mut self,
        timed: Timed,
        snapshot: Snapshot,
        next: impl FnOnce() -> Option<Timed>,
    ) -> Result<(Purpose, Duration)> {
        let Timed { batch, tick } = timed;
        let started = self.admission.clock.now();
        let begun = match self.begun.take() {
            Some(begun) => {
                // The workers run it already: it is too late to ask for their state.
                assert_eq!(snapshot, Snapshot::Skip, "{batch} was begun without one");
                begun
            }
            None => self.begin(timed, snapshot)?,
        };
        let Begun { work, scope } = begun;
        assert_eq!(work.batch, batch, "batches run in the order of their cuts");
        let mut completed = self.executor.complete(work)?;
        if let Some(failure) = completed.failure {
            return Err(failure.into());
        }
        let results = self.side.after(&scope, &mut completed)?;
        let Completed {
            outputs,
            mut blocks,
            keys,
            ..
        } = completed;
        if work.snapshot == Snapshot::Skip
            && self.side.is_empty()
            && let Some(next) = next()
        {
            self.begun = Some(self.begin(next, Snapshot::Skip)?);
        }
        if work.purpose == Purpose::Run {
            self.committer.commit(timed, outputs)?;
        }
        self.states.update(keys);
        self.side.finished(&batch, results);
        // All that its frames say of producers is known: they were appended here, or read at start.
        self.sources.iter().for_each(|s| s.settle(batch.to));
        self.admission.processed(batch.to);
        let took = self.admission.clock.now().saturating_sub(started);
        if work.snapshot == Snapshot::Take {
            blocks.extend(self.side.blocks(&batch)?);
            self.checkpointer.take(Capture {
                batch,
                zero_ms: tick.zero_ms,
                blocks,
                sources: self.sources.iter().map(SourceContext::settled).collect(),
            })?;
        }
        Ok((work.purpose, took))
    }

    /// Hands a batch to the workers: chunks of the log, numbered in order. An empty tick has none.
    fn begin(&self, timed: Timed, snapshot: Snapshot) -> Result<Begun> {
        let Timed { batch, tick } = timed;
        let committed = self.committed.is_some_and(|newest| batch.id <= newest);
        let work = Work {
            batch,
            tick,
            purpose: match committed {
                true => Purpose::Rebuild,
                false => Purpose::Run,
            },
            snapshot: match self.checkpointer.is_due(&batch) {
                true => Snapshot::Take,
                false => snapshot,
            },
            published: self.checkpointer.published(),
        };
        let chunks = match batch.from == batch.to {
            true => Vec::new(),
            false => {
                let wal = self.wal();
                wal.chunks(batch.from, batch.to, self.chunk_size.of(&batch))?
            }
        };
        let input = chunks.into_iter().zip(0..);
        let input = input.map(|(chunk, number)| Chunk::new(SequenceKey::Log(number), 0, chunk));
        let scope = self.side.scope(&batch);
        self.executor.begin(work, input.collect(), &scope)?;
        Ok(Begun { work, scope })
    }
}
