//! `StreamingContext`: the life of a program, from recovery to the final checkpoint.

use crate::batch::checkpointer::{
    Board, CheckpointStats, Checkpointer, Metadata, Schedule, Writer,
};
use crate::batch::clock::BatchClock;
use crate::batch::cutter::Cutter;
use crate::batch::driver::{BatchDone, Driver};
use crate::batch::engine_log::{self, Entry};
use crate::batch::{Batch, Purpose, Snapshot};
use crate::context::builder::{BatchMode, Builder};
use crate::context::own_thread::{self, Inside, Role};
use crate::context::stopping;
use crate::context::threads::{self, Queue, Threads};
use crate::error::{Error, Result};
use crate::exec::Executor;
use crate::ingest::admission::{Intake, SourceIntake};
use crate::ingest::input::Sender;
use crate::ingest::source::{SourceContext, SourceStats};
use crate::observe::lineage::Lineage;
use crate::observe::status::{Progress, Status};
use crate::plan::graph::Plan;
use crate::plan::record::Value;
use crate::recovery::recover::Recovered;
use crate::recovery::report::RecoveryReport;
use crate::sink::output::{OutputOwner, SinkContext};
use crate::sink::patience::Patience;
use highwater_wal::{Lsn, Wal};
use parking_lot::Mutex;
use std::any::TypeId;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where a context is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextState {
    /// Built; sources take data into the log, no batch runs yet.
    Initialized,
    /// Batches run.
    Active,
    /// Over, by [`StreamingContext::stop`] or by an error. It cannot be started again.
    Stopped,
}

/// How a context stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Sources end, everything acknowledged is processed, a final checkpoint is taken.
    Graceful,
    /// The running batch ends; what is in the log behind it is processed by the next start.
    Immediate,
}

/// A streaming program on its directory. Cheap to clone; every clone is the same context.
///
/// Dropping the last clone stops it at once, as a crash would, but tidily: nothing is lost either
/// way.
#[derive(Clone)]
pub struct StreamingContext {
    owner: Arc<Owner>,
}

/// Stops the context when the last clone goes.
struct Owner {
    core: Arc<Core>,
    threads: Mutex<Threads>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let threads = self.threads.get_mut();
        if own_thread::role() != Role::Outside {
            return stopping::abandon(&self.core, threads);
        }
        let told = self.core.status.error().is_some();
        if let Err(error) = stopping::stop(&self.core, threads, StopMode::Immediate)
            && !told
        {
            tracing::warn!(%error, "stopping a dropped streaming context");
        }
    }
}

/// What the threads of a context share.
pub(crate) struct Core {
    pub(crate) settings: Builder,
    pub(crate) plan: Arc<Plan>,
    pub(crate) wal: Arc<Wal>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) sources: Vec<SourceContext>,
    pub(crate) cutter: Mutex<Cutter>,
    pub(crate) board: Arc<Board>,
    pub(crate) status: Status,
    /// Batches that wait for the driver.
    pub(crate) queue: Queue,
    replay_from: Lsn,
    report: RecoveryReport,
    /// The newest batch that was cut before this run.
    last_batch_found: Option<u64>,
    /// What [`StreamingContext::start`] takes.
    recovered: Mutex<Option<Recovered>>,
    /// In manual mode the driver lives here.
    pub(crate) driver: Mutex<Option<Driver>>,
}

impl fmt::Debug for StreamingContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingContext")
            .field("dir", &self.owner.core.settings.dir)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl StreamingContext {
    /// Begins the settings of a context whose log and checkpoints live in `dir`. A relative `dir`
    /// is resolved here and now: a later change of the working directory changes nothing.
    #[must_use]
    pub fn builder(dir: impl AsRef<Path>) -> Builder {
        Builder::new(dir.as_ref())
    }

    pub(crate) fn open(settings: Builder, plan: Plan) -> Result<Self> {
        let recovered = Recovered::open(&settings, &plan)?;
        let wal = Arc::clone(&recovered.wal);
        if recovered.program_is_new {
            // Sources may store from here on, so their stream ids must be durable first.
            wal.sync_to(engine_log::append(
                &wal,
                &Entry::Program(recovered.program.clone()),
            )?)?;
        }
        let streams = recovered.streams.clone();
        let intake = Arc::new(Intake::new(
            Arc::clone(&wal),
            Arc::clone(&settings.disk),
            Arc::clone(&settings.clock),
            settings.max_unprocessed_bytes,
            settings.max_batch_bytes,
            (recovered.replay_from(), recovered.last_cut()),
        ));
        let sources = plan.sources.iter().zip(&streams).map(|(source, stream)| {
            let producers = recovered.producers_now.get(&stream.id);
            let producers = producers.cloned().unwrap_or_default();
            let intake = SourceIntake::new(source, stream.id, Arc::clone(&intake), producers);
            SourceContext::new(Arc::new(intake))
        });
        let sources = sources.collect();
        plan.streams
            .set(streams)
            .unwrap_or_else(|_| unreachable!("a plan is opened once"));
        let (last_id, _) = recovered.last_batch();
        let cutter = cutter(&settings, &recovered, &intake);
        let (board, status) = (Arc::new(Board::default()), Status::default());
        if let Some((number, batch)) = recovered.checkpoint {
            board.recovered((number, batch.id, batch.to), recovered.report.loaded_in);
            status.recovered(batch.id);
        }
        let core = Core {
            settings,
            plan: Arc::new(plan),
            wal,
            intake,
            sources,
            cutter: Mutex::new(cutter),
            board,
            status,
            queue: Queue::default(),
            replay_from: recovered.replay_from(),
            report: recovered.report.clone(),
            last_batch_found: (last_id > 0).then_some(last_id),
            recovered: Mutex::new(Some(recovered)),
            driver: Mutex::new(None),
        };
        Ok(Self {
            owner: Arc::new(Owner {
                core: Arc::new(core),
                threads: Mutex::default(),
            }),
        })
    }

    /// Replays the batches behind the checkpoint, then runs new ones. Returns when replay has
    /// begun; in manual mode, when it is over.
    ///
    /// # Errors
    /// [`Error::LifeCycle`] if it was started before; [`Error::Source`] or [`Error::OutputOpen`] if
    /// a source or sink cannot start; in manual mode also whatever replay fails with.
    pub fn start(&self) -> Result<&Self> {
        let core = &self.owner.core;
        core.status.activate()?;
        let started = threads::start(core, &mut self.owner.threads.lock());
        if let Err(error) = started {
            threads::quiesce(core);
            core.status.stopped(Some(Error::LifeCycle(
                "the streaming context could not start: its `start` returned why",
            )));
            return Err(error);
        }
        Ok(self)
    }

    /// Waits until the context has stopped.
    ///
    /// # Errors
    /// What stopped it, if that was an error.
    pub fn await_termination(&self) -> Result<()> {
        self.owner.core.status.await_end()
    }

    /// Waits until the context has stopped, or `timeout` has passed; false in the second case.
    ///
    /// # Errors
    /// What stopped it, if that was an error.
    pub fn await_termination_or_timeout(&self, timeout: Duration) -> Result<bool> {
        self.owner.core.status.await_end_or_timeout(timeout)
    }

    /// Waits until batch `id` is complete, or the context has stopped.
    ///
    /// # Errors
    /// What stopped the context, or [`Error::Stopped`] if that was `stop`.
    pub fn await_batch(&self, id: u64) -> Result<()> {
        self.owner.core.status.await_batch(id)
    }

    /// Stops the context and closes the log. Stopping twice is no error; an immediate stop cuts a
    /// graceful one short.
    ///
    /// Called from inside the context (an operator, an output, a receiver), which cannot wait for
    /// itself, it returns at once and the stop happens behind it: [`Self::await_termination`] waits
    /// for it and tells its error.
    ///
    /// # Errors
    /// A graceful stop reports what kept it from processing everything or from taking the final
    /// checkpoint; nothing acknowledged is lost, the next start goes on from there.
    pub fn stop(&self, mode: StopMode) -> Result<()> {
        let core = &self.owner.core;
        if own_thread::role() != Role::Outside {
            return stopping::stop_behind(self.clone(), core, mode);
        }
        if mode == StopMode::Immediate {
            core.queue.end(mode);
        }
        stopping::stop(core, &mut self.owner.threads.lock(), mode)
    }

    /// Cuts a batch, runs it and returns it (manual mode only). If more has gathered than
    /// [`max_batch_bytes`](Builder::max_batch_bytes), the batch has the first part of it, and the
    /// next call goes on.
    ///
    /// # Errors
    /// [`Error::LifeCycle`] if the context is not active or not in manual mode; whatever the batch
    /// fails with, which also stops the context.
    pub fn run_batch(&self) -> Result<Batch> {
        self.owner.core.run_manually(Snapshot::Skip)
    }

    /// The sending end of the in-process input `name`.
    ///
    /// # Errors
    /// [`Error::NoSuchInput`] if the program has no such input or it carries another type.
    pub fn input<T: Value>(&self, name: &str) -> Result<Sender<T>> {
        let core = &self.owner.core;
        let sources = core.plan.sources.iter().zip(&core.sources);
        let found = sources.clone().find(|(source, _)| source.name == name);
        match found {
            Some((source, context)) => match source.input_type {
                Some(id) if id == TypeId::of::<T>() => {
                    Ok(Sender::new(context.clone(), Arc::clone(&core.wal)))
                }
                Some(_) => Err(Error::NoSuchInput(format!(
                    "input \"{name}\" carries {}, not {}",
                    source.record,
                    std::any::type_name::<T>()
                ))),
                None => Err(Error::NoSuchInput(format!(
                    "\"{name}\" is a source of kind {}, which receives for itself",
                    source.kind
                ))),
            },
            None => {
                let known: Vec<&str> = sources
                    .filter(|(s, _)| s.input_type.is_some())
                    .map(|(s, _)| s.name.as_str())
                    .collect();
                Err(Error::NoSuchInput(format!(
                    "the program has no input \"{name}\" (it has: {})",
                    known.join(", ")
                )))
            }
        }
    }

    /// What would have to be replayed after a crash right now.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        let core = &self.owner.core;
        let stats = core.board.stats();
        let newest = stats.newest;
        let progress = core.status.progress();
        let replay_from = newest.map_or(core.replay_from, |(_, _, lsn)| lsn);
        let covered = newest.map_or(0, |(_, batch, _)| batch);
        let bytes_to_replay = core.wal.durable_lsn().bytes_since(replay_from);
        // After a restart batches are known that were not run again yet.
        let last_batch = progress.last_batch.max(core.last_batch_found);
        let replay = match bytes_to_replay {
            0 => Some(Duration::ZERO),
            bytes => progress.time_for(bytes),
        };
        Lineage {
            checkpoint: newest.map(|(number, batch, _)| (number, batch)),
            last_batch,
            depth: last_batch.unwrap_or(0).saturating_sub(covered),
            bytes_to_replay,
            replay_from,
            load_time: core.board.load_time(),
            estimated_recovery: replay.map(|time| time + core.board.load_time()),
        }
    }

    /// What was found on disk when the context was opened, and what was restored.
    #[must_use]
    pub fn recovered(&self) -> &RecoveryReport {
        &self.owner.core.report
    }

    /// Where the context is in its life.
    #[must_use]
    pub fn state(&self) -> ContextState {
        self.owner.core.status.state()
    }

    /// Batches completed since the start, and what they took.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.owner.core.status.progress()
    }

    /// Checkpoints of this run.
    #[must_use]
    pub fn checkpoints(&self) -> CheckpointStats {
        self.owner.core.board.stats()
    }

    /// What the sources have done since the start, by name.
    #[must_use]
    pub fn sources(&self) -> Vec<(String, SourceStats)> {
        self.owner
            .core
            .sources
            .iter()
            .map(|s| (s.name().to_owned(), s.stats()))
            .collect()
    }

    /// The log underneath: its statistics, its recovery report, its frontier.
    #[must_use]
    pub fn log(&self) -> &Wal {
        &self.owner.core.wal
    }
}

fn cutter(settings: &Builder, recovered: &Recovered, intake: &Arc<Intake>) -> Cutter {
    let (last_id, last_time_ms) = recovered.last_batch();
    Cutter {
        intake: Arc::clone(intake),
        times: BatchClock::start(
            Arc::clone(&settings.clock),
            settings.batch_interval,
            last_time_ms,
            settings.clock_start,
        ),
        next_id: last_id + 1,
        last_cut: recovered.last_cut(),
        max_batch_bytes: settings.max_batch_bytes,
        has_more: false,
        faults: settings.faults,
    }
}

impl Core {
    /// Builds the driver and replays; the first half of a start.
    pub(crate) fn driver(&self) -> Result<(Driver, Vec<Batch>)> {
        let recovered = self.recovered.lock().take();
        let recovered =
            recovered.ok_or(Error::LifeCycle("a streaming context can be started once"))?;
        let (last_id, _) = recovered.last_batch();
        let first = recovered.cuts.first().map_or(last_id + 1, |cut| cut.id);
        let patience = match self.settings.mode {
            BatchMode::Clock => Patience::of(&self.intake),
            BatchMode::Manual => Patience::none(),
        };
        self.open_outputs(&recovered, &patience)?;
        let workers = self.settings.workers.get();
        let executor = Executor::start(Arc::clone(&self.plan), workers, first, recovered.state)?;
        let writer = Writer {
            checkpoints: recovered.checkpoints,
            wal: Arc::clone(&self.wal),
            kept: self
                .wal
                .retain_as(self.wal.first_lsn(), "the oldest retained checkpoint")?,
            plan: Arc::clone(&self.plan),
            clock: Arc::clone(&self.settings.clock),
            metadata: Metadata {
                program: recovered.program,
                batch_interval_ms: u64::try_from(self.settings.batch_interval.as_millis())
                    .unwrap_or(u64::MAX),
                workers,
                operators: self.plan.operators.clone(),
                migrations: recovered.migrations,
                dropped: recovered.dropped,
            },
            faults: self.settings.faults,
        };
        let schedule = Schedule {
            policy: self.settings.policy,
            writing: self.settings.writing(),
            last: recovered
                .checkpoint
                .map_or((0, self.replay_from), |(_, batch)| (batch.id, batch.to)),
            max_lineage: self.settings.max_unprocessed_bytes,
        };
        let checkpointer = Checkpointer::start(schedule, writer, Arc::clone(&self.board))
            .map_err(|e| Error::Worker(format!("the checkpoint thread could not start: {e}")))?;
        let driver = Driver {
            dir: self.settings.dir.clone(),
            plan: Arc::clone(&self.plan),
            intake: Arc::clone(&self.intake),
            executor,
            checkpointer,
            producers: recovered.producers,
            committed: recovered.committed,
            patience,
            faults: self.settings.faults,
            piece_bytes: self.settings.piece_bytes,
        };
        Ok((driver, recovered.cuts))
    }

    fn open_outputs(&self, recovered: &Recovered, patience: &Patience) -> Result<()> {
        let batches = recovered.batches();
        for output in &self.plan.outputs {
            let shown = self.plan.operator_name(output.operator);
            let info = self.plan.operators.get(output.operator.0);
            let owner = OutputOwner {
                log_id: self.wal.log_id(),
                application: self.settings.application.clone(),
                output: info
                    .and_then(|i| i.name.clone())
                    .unwrap_or_else(|| shown.clone()),
            };
            let context = SinkContext {
                disk: Arc::clone(&self.settings.disk),
                committed: recovered.committed,
                patience: patience.clone(),
                owner,
                batches: Arc::clone(&batches),
            };
            output.open(&shown, &context)?;
        }
        Ok(())
    }

    /// Notes a completed batch.
    pub(crate) fn completed(&self, done: &BatchDone) {
        let bytes = done.batch.to.bytes_since(done.batch.from);
        let replayed = done.purpose == Purpose::Rebuild;
        self.status
            .completed(done.batch.id, bytes, done.took, replayed);
    }

    fn run_manually(&self, snapshot: Snapshot) -> Result<Batch> {
        if self.settings.mode != BatchMode::Manual || self.status.state() != ContextState::Active {
            return Err(Error::LifeCycle(
                "run_batch needs an active context in manual mode",
            ));
        }
        if own_thread::role() != Role::Outside {
            return Err(Error::LifeCycle("a batch cannot run inside another one"));
        }
        let mut driver = self.driver.lock();
        let driver = driver
            .as_mut()
            .ok_or(Error::LifeCycle("the context is being stopped"))?;
        let _inside = Inside::enter(Role::Batch);
        let batch = match self.cutter.lock().cut() {
            Err(error) if threads::may_pass(&error) => return Err(error),
            cut => cut,
        };
        match batch.and_then(|batch| driver.run(batch, snapshot)) {
            Ok(done) => {
                self.completed(&done);
                Ok(done.batch)
            }
            Err(error) => {
                threads::quiesce(self);
                Err(self.status.fail(error))
            }
        }
    }
}
