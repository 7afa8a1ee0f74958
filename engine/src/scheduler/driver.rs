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

use crate::batch::Batch;
use crate::batch::chunk_size::ChunkSize;
use crate::batch::input;
use crate::batch::tick::Timed;
use crate::batch::work::{Purpose, Snapshot, Work};
use crate::checkpointing::capture::{Capture, Captured, Whole};
use crate::checkpointing::checkpointer::Checkpointer;
use crate::checkpointing::retained::Retained;
use crate::error::{BatchFailure, Error, Result};
use crate::exec::completed::Completed;
use crate::ingest::admission::Admission;
use crate::ingest::offset_sources::OffsetSources;
use crate::ingest::source_context::SourceContext;
use crate::observe::event::BatchSteps;
use crate::observe::hot_key::HotKey;
use crate::observe::states::StateCounts;
use crate::panics;
use crate::plan::batch_scope::BatchScope;
use crate::plan::failed::Remedy;
use crate::queries::published::Published;
use crate::refused::lists::{Refused, RefusedCount};
use crate::scheduler::attempts::{Attempts, Failure};
use crate::scheduler::commit::Committer;
use crate::scheduler::cut_batches::CutBatches;
use crate::scheduler::refused_records::RefusedRecords;
use crate::scheduler::side_values::{SideResults, SideValues};
use crate::scheduler::workers::{Workers, dropped};
use highwater_wal::Wal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Runs batches.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) admission: Arc<Admission>,
    pub(crate) workers: Workers,
    pub(crate) attempts: Attempts,
    pub(crate) committer: Committer,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) side: SideValues,
    pub(crate) sources: Vec<SourceContext>,
    pub(crate) by_offset: Arc<OffsetSources>,
    /// The checkpoints that are there.
    pub(crate) retained: Arc<Retained>,
    /// Batches up to this one were committed before the start.
    pub(crate) committed: Option<u64>,
    pub(crate) refused: RefusedRecords,
    /// For readers of the states.
    pub(crate) published: Arc<Published>,
    /// For observers.
    pub(crate) states: Arc<StateCounts>,
    pub(crate) cut_batches: Arc<CutBatches>,
    pub(crate) chunk_size: ChunkSize,
    /// The batch that the workers began while the one before was committed.
    pub(crate) begun: Option<Begun>,
}

/// A batch that is complete.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What it was run for.
    pub(crate) purpose: Purpose,
    /// How long that took.
    pub(crate) took: Duration,
    pub(crate) steps: BatchSteps,
    /// How many records it had of each source.
    pub(crate) records: Vec<u64>,
    /// How many each operator has refused.
    pub(crate) refused: BTreeMap<String, RefusedCount>,
    pub(crate) hot_keys: Vec<HotKey>,
}

/// A checkpoint that the workers were asked for.
struct Asked {
    whole: Whole,
    copies: Receiver<Captured>,
    workers: usize,
}

/// A batch that the workers run.
#[derive(Debug)]
pub(crate) struct Begun {
    work: Work,
    scope: BatchScope,
    /// What it has refused, if it was committed before.
    refused: Option<Refused>,
}

impl Driver {
    fn wal(&self) -> &Wal {
        &self.admission.wal
    }

    /// Runs a batch up to its commit, and then a checkpoint if one is due or `snapshot` asks for
    /// it.
    ///
    /// `next` tells the batch after this one, if its cut is durable. The workers begin it while
    /// this one is committed; `run` must be called for it next. Not in a program with variables or
    /// datasets, whose values this batch must give to the next.
    ///
    /// A checkpoint is asked for before the next batch begins, and handed over after the outputs of
    /// this one are published. What it consists of is copied meanwhile.
    pub(crate) fn run(
        &mut self,
        timed: Timed,
        snapshot: Snapshot,
        next: impl FnOnce() -> Option<Timed>,
    ) -> Result<Ran> {
        let batch = timed.batch;
        self.checkpointer.check_not_fenced()?;
        let started = self.admission.clock.now();
        let begun = self.begun.take();
        let is_begun = begun.is_some();
        let begun = begun.unwrap_or_else(|| self.prepare(timed));
        let work = begun.work;
        assert_eq!(work.batch, batch, "batches run in the order of their cuts");
        let (completed, results) = self.try_until_kept(&begun, is_begun)?;
        let mut steps = BatchSteps {
            run: self.since(started),
            ..BatchSteps::default()
        };
        let refused = match begun.refused {
            Some(refused) => refused,
            None => self.refused.noted_in(&completed)?,
        };
        let Completed {
            outputs,
            refused: noted,
            keys,
            hot_keys,
            ..
        } = completed;
        let is_due = snapshot != Snapshot::Skip || self.checkpointer.is_due(&batch);
        let asked = is_due.then(|| self.ask_for_checkpoint(&batch));
        if self.side.is_empty()
            && let Some(next) = next()
        {
            let next = self.prepare(next);
            // A failure here is that of the first attempt at `next`: it is met, and treated, when
            // that has its turn. The outputs of this batch come first.
            self.begun = self.begin(&next).is_ok().then_some(next);
        }
        if work.purpose == Purpose::Run {
            let early = !self.refused.faults.commit_before_letters();
            if early {
                self.refused.put_aside(&batch, &noted)?;
            }
            self.committer
                .commit(timed, outputs, &refused, &mut steps)?;
            if !early {
                self.refused.put_aside(&batch, &noted)?;
            }
        }
        self.published.publish(&batch);
        self.states.update(keys);
        self.refused.finished(&batch, &refused);
        self.side.finished(&batch, results);
        let records = self.settle(&batch);
        let took = self.since(started);
        if let Some(asked) = asked {
            steps.checkpoint = Some(self.hand_over(timed, snapshot, asked)?);
        }
        self.by_offset.release(self.retained.oldest());
        Ok(Ran {
            purpose: work.purpose,
            took,
            steps,
            records,
            refused: refused.counts(),
            hot_keys,
        })
    }

    /// Has the workers take over what a checkpoint after `batch` is to have, which was kept.
    fn ask_for_checkpoint(&mut self, batch: &Batch) -> Asked {
        let began = self.admission.clock.now();
        if self.workers.take_rebuilt() {
            self.checkpointer.write_everything();
        }
        let (whole, sink, copies) = self.checkpointer.ask();
        let asked = self.workers.capture(batch.id, &whole, &sink);
        let workers = asked.unwrap_or_else(|error| {
            // The next batch finds out too, and has them built again. This checkpoint fails: the
            // copies end before all workers have said that they are done.
            tracing::warn!(%error, %batch, "a worker was lost before a checkpoint");
            usize::MAX
        });
        self.paused_since(began);
        Asked {
            whole,
            copies,
            workers,
        }
    }

    /// Takes the checkpoint that was asked for; how long that kept the driver busy.
    fn hand_over(&mut self, timed: Timed, snapshot: Snapshot, asked: Asked) -> Result<Duration> {
        let began = self.admission.clock.now();
        let had_all = asked.whole == Whole::All;
        self.take_checkpoint(timed, snapshot, asked)?;
        // No later attempt follows the final one.
        if snapshot != Snapshot::Skip && !had_all && self.checkpointer.lost_its_parent() {
            let asked = self.ask_for_checkpoint(&timed.batch);
            self.take_checkpoint(timed, snapshot, asked)?;
        }
        Ok(self.since(began))
    }

    /// Takes a checkpoint after a batch that is complete.
    fn take_checkpoint(
        &mut self,
        Timed { batch, tick }: Timed,
        snapshot: Snapshot,
        asked: Asked,
    ) -> Result<()> {
        assert!(
            self.committer.has_published(&batch),
            "{batch} is in a checkpoint only after its outputs are published"
        );
        let began = self.admission.clock.now();
        self.by_offset.captured(batch.id);
        let capture = Capture {
            batch,
            whole: asked.whole,
            copies: asked.copies,
            workers: asked.workers,
            memory: self.checkpointer.memory(),
            entries: self.side.entries(&batch)?,
            tick,
            incomplete: self.cut_batches.after(batch.id),
            is_final: snapshot == Snapshot::Final,
            sources: self.sources.iter().map(SourceContext::settled).collect(),
        };
        self.paused_since(began);
        self.checkpointer.take(capture)
    }

    /// A checkpoint has kept the driver busy since then.
    fn paused_since(&self, began: Duration) {
        self.checkpointer.paused(self.since(began));
    }

    /// The time since then, by the clock.
    fn since(&self, then: Duration) -> Duration {
        self.admission.clock.now().saturating_sub(then)
    }

    /// A batch has finished: its input is not read again by this run. How many records it had of
    /// each source.
    fn settle(&self, batch: &Batch) -> Vec<u64> {
        // All that its frames say of producers is known: they were appended here, or read at start.
        let records = self.sources.iter().map(|s| s.settle(batch.to)).collect();
        self.by_offset.finished(batch);
        self.cut_batches.finished(batch.id);
        self.admission.processed(batch.to);
        records
    }

    /// Runs a batch again and again, until an attempt has succeeded. `is_begun`: the workers run it
    /// already.
    fn try_until_kept(
        &mut self,
        begun: &Begun,
        mut is_begun: bool,
    ) -> Result<(Completed, SideResults)> {
        let mut failures = 0;
        loop {
            let failure = match self.attempt(begun, std::mem::take(&mut is_begun)) {
                Ok((mut completed, results)) => {
                    let mut keys = self.workers.keep();
                    keys.append(&mut completed.keys);
                    completed.keys = keys;
                    return Ok((completed, results));
                }
                Err(failure) => failure,
            };
            if failure.remedy == Remedy::Rebuild || self.attempts.always_rebuild {
                self.workers.lose(&failure.error);
            }
            failures += 1;
            self.attempts.after(begun.work.batch, failures, failure)?;
        }
    }

    /// One attempt at a batch. It changes nothing that the driver keeps.
    fn attempt(
        &mut self,
        begun: &Begun,
        is_begun: bool,
    ) -> Result<(Completed, SideResults), Failure> {
        if !is_begun {
            self.begin(begun)?;
        }
        let completed = self.workers.complete();
        let mut completed = completed.map_err(Failure::of_workers)?;
        if let Some(failed) = completed.failure.take() {
            dropped(completed);
            return Err(failed.into());
        }
        // Decodes what is broadcast: that may panic.
        let after = || Ok::<_, String>(self.side.after(&begun.scope, &mut completed));
        let after = panics::catch(after).unwrap_or_else(|message| {
            Err(Error::from(BatchFailure {
                batch: begun.work.batch,
                operator: "what the batch leaves to the next one".to_owned(),
                lsn: None,
                key: None,
                message,
                attempts: 1,
            }))
        });
        match after {
            Ok(results) => Ok((completed, results)),
            Err(error) => {
                dropped(completed);
                Err(Failure::new(error, Remedy::PutBack))
            }
        }
    }

    /// What the workers are to do with a batch.
    fn prepare(&self, timed: Timed) -> Begun {
        let Timed { batch, tick } = timed;
        let committed = self.committed.is_some_and(|newest| batch.id <= newest);
        let work = Work {
            batch,
            tick,
            purpose: match committed {
                true => Purpose::Rebuild,
                false => Purpose::Run,
            },
            published: self.checkpointer.published(),
            shown: self.published.shown(),
        };
        let scope = self.side.scope(&batch);
        let refused = committed.then(|| self.refused.of(&batch));
        Begun {
            work,
            scope,
            refused,
        }
    }

    /// Hands a batch to the workers. Those that were lost are built again before.
    fn begin(&mut self, begun: &Begun) -> Result<(), Failure> {
        let Begun {
            work,
            scope,
            refused,
        } = begun;
        let batch = work.batch;
        let mut scope = scope.clone();
        scope.refusals = self.refused.refusals(refused.as_ref());
        let ranges = self.by_offset.of(&batch);
        let input = input::chunks(self.wal(), &batch, self.chunk_size, &ranges);
        let input = input.map_err(|error| Failure::new(error.into(), Remedy::PutBack))?;
        let begun = self.workers.begin(*work, input, &scope);
        begun.map_err(Failure::of_workers)
    }
}
