//! What the threads of a context share.

use crate::batch::Batch;
use crate::batch::tick::Timed;
use crate::batch::work::Purpose;
use crate::batch::work::Snapshot;
use crate::checkpointing::retained::Retained;
use crate::context::intake::{cutter, sources};
use crate::context::observers::{events, lineage, restored_states};
use crate::context::queue::{Queue, StopMode};
use crate::datasets::slot::{DatasetSlot, Recompute};
use crate::dead_letters::desk::Desk;
use crate::engine_log::cut::Cut;
use crate::engine_log::entry::{self, Entry};
use crate::error::{Error, Result};
use crate::ingest::admission::Admission;
use crate::ingest::source_context::SourceContext;
use crate::observe::checkpoints::CheckpointStatus;
use crate::observe::delays::SchedulingDelays;
use crate::observe::event::{ContextEvent, ContextListener, ContextState, Events};
use crate::observe::recent::RecentEvents;
use crate::observe::recovering::lineage::LineageReader;
use crate::observe::states::StateCounts;
use crate::observe::status::Status;
use crate::plan::program::Plan;
use crate::plan::refused_counts::refused_failed;
use crate::queries::published::Published;
use crate::rates::source_rate::BatchOfSource;
use crate::recovery::recover::Recovered;
use crate::recovery::report::RecoveryReport;
use crate::replay::replayer::Replayer;
use crate::scheduler::cut_batches::CutBatches;
use crate::scheduler::cutter::Cutter;
use crate::scheduler::driver::{Driver, Ran};
use crate::settings::{BatchMode, Settings};
use crate::sink::status::OutputDelays;
use crate::thread_role::{self, Role, RoleGuard};
use crate::variables::declared::variable_failed;
use highwater_wal::Wal;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// What the threads of a context share.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) plan: Arc<Plan>,
    pub(crate) wal: Arc<Wal>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) sources: Vec<SourceContext>,
    pub(crate) cutter: Mutex<Cutter>,
    pub(crate) checkpoints: Arc<CheckpointStatus>,
    pub(crate) status: Arc<Status>,
    pub(crate) states: Arc<StateCounts>,
    /// For readers of the states.
    pub(crate) published: Arc<Published>,
    pub(crate) output_delays: Arc<OutputDelays>,
    pub(crate) events: Arc<Events>,
    /// When the batches that wait were cut.
    delays: Mutex<SchedulingDelays>,
    /// Batches that wait for the driver.
    pub(crate) queue: Queue,
    /// Those, and the one that runs.
    pub(crate) cut_batches: Arc<CutBatches>,
    /// Computes past batches again; datasets know it as long as this is there.
    pub(crate) replayer: Arc<Replayer>,
    pub(crate) lineage: Arc<LineageReader>,
    pub(crate) recent: Arc<RecentEvents>,
    pub(crate) report: RecoveryReport,
    /// What [`start`](crate::StreamingContext::start) takes.
    pub(crate) recovered: Mutex<Option<Recovered>>,
    /// Where records are put aside, in a program that does that, once it was started.
    pub(crate) desk: Mutex<Option<Arc<Desk>>>,
    /// In manual mode the driver lives here.
    pub(crate) driver: Mutex<Option<Driver>>,
}

impl Core {
    /// Recovers what is in the directory, or creates it.
    pub(crate) fn open(settings: Settings, plan: Plan) -> Result<Self> {
        let mut recovered = Recovered::open(&settings, &plan)?;
        let wal = Arc::clone(&recovered.wal);
        if recovered.program_is_new {
            // Sources may store from here on, so their stream ids must be durable first.
            let program = Entry::Program(recovered.program.clone());
            wal.sync_to(entry::append(&wal, &program)?)?;
        }
        let streams = recovered.streams.clone();
        let admission = Arc::new(Admission::new(
            Arc::clone(&wal),
            Arc::clone(&settings.disk),
            Arc::clone(&settings.clock),
            settings.max_unprocessed_bytes,
            settings.max_batch_bytes,
            (recovered.replay_from(), recovered.last_cut()),
        ));
        let sources = sources(&settings, &plan, &recovered, &admission);
        let plan = Arc::new(plan);
        plan.streams
            .set(streams)
            .unwrap_or_else(|_| unreachable!("a plan is opened once"));
        recovered
            .newest_data
            .into_iter()
            .for_each(|lsn| admission.has_data_at(lsn));
        let cutter = cutter(&settings, &plan, &recovered, &admission);
        let states = restored_states(&recovered);
        let output_delays = Arc::<OutputDelays>::default();
        let lineage = Arc::new(lineage(&settings, &recovered));
        let clock = Arc::clone(&settings.clock);
        let recent = RecentEvents::new(clock, Arc::clone(&lineage));
        let recent = Arc::new(recent);
        let events = events(
            &settings,
            &plan,
            &recovered,
            (&lineage, &output_delays),
            (&sources, &states),
            &recent,
        );
        restore_side_values(&plan, &mut recovered, &events)?;
        Ok(Self {
            replayer: replayer(&settings, &plan, &recovered),
            published: Arc::new(Published::new(Arc::clone(&settings.clock))),
            settings,
            plan,
            wal,
            admission,
            sources,
            cutter: Mutex::new(cutter),
            checkpoints: Arc::clone(&lineage.checkpoints),
            status: Arc::clone(&lineage.status),
            states,
            output_delays,
            events,
            delays: Mutex::default(),
            queue: Queue::default(),
            cut_batches: Arc::default(),
            lineage,
            recent,
            report: recovered.report.clone(),
            recovered: Mutex::new(Some(recovered)),
            desk: Mutex::new(None),
            driver: Mutex::new(None),
        })
    }

    /// Ends the batch that is being filled: its cut is durable when this returns. By hand, a cut
    /// implies nothing: only the calls say how many batches there are.
    pub(crate) fn cut(&self) -> Result<Cut> {
        let implied = self.settings.mode == BatchMode::Clock;
        let cut = self.cutter.lock().cut(implied)?;
        self.was_cut(&cut);
        Ok(cut)
    }

    /// Tells everyone of a cut.
    pub(crate) fn was_cut(&self, cut: &Cut) {
        self.cut_batches.was_cut(cut);
        let batch = cut.last.batch;
        let now = self.settings.clock.now();
        self.delays.lock().was_cut(&batch, now);
        self.events.publish(&ContextEvent::BatchSubmitted { batch });
    }

    /// Runs a batch on the calling thread. In clock mode the workers begin the one that waits next.
    pub(crate) fn run(&self, driver: &mut Driver, timed: Timed, snapshot: Snapshot) -> Result<()> {
        let batch = timed.batch;
        let scheduling_delay = self.delays.lock().of(&batch, self.settings.clock.now());
        self.events.publish(&ContextEvent::BatchStarted { batch });
        let ran = driver.run(timed, snapshot, || self.queue.peek());
        self.queue.idle();
        // Before anyone learns that the batch is complete.
        if let Ok(ran) = &ran {
            self.adapt_rates(ran, scheduling_delay);
            self.tell_of_refused(ran, batch);
        }
        if driver.by_offset.has_more() {
            self.admission.full.notify_one(); // the cutter need not wait for the next tick
        }
        let event = match &ran {
            Ok(ran) => ContextEvent::BatchCompleted {
                batch,
                replayed: ran.purpose == Purpose::Rebuild,
                records: ran.records.iter().sum(),
                scheduling_delay,
                took: ran.took,
                steps: ran.steps,
            },
            Err(error) => ContextEvent::BatchFailed {
                batch,
                message: error.to_string(),
            },
        };
        self.events.publish(&event);
        if let (Ok(_), Some(found)) = (&ran, self.lineage.found.map(|found| found.id))
            && batch.id <= found
        {
            let of = self.report.batches_to_replay;
            let done = of.saturating_sub(found - batch.id);
            self.events
                .publish(&ContextEvent::RecoveryProgress { done, of });
        }
        ran.map(drop)
    }

    /// Tells everyone what a batch has refused, and of hot keys; not again when it only runs for
    /// its state.
    fn tell_of_refused(&self, ran: &Ran, batch: Batch) {
        if ran.purpose == Purpose::Rebuild {
            return;
        }
        for (operator, count) in &ran.refused {
            self.events.publish(&ContextEvent::RecordsRefused {
                batch,
                operator: operator.clone(),
                skipped: count.skipped,
                dead_letters: count.dead_letters,
            });
        }
        let alone = self.settings.workers.get() == 1;
        for hot in ran.hot_keys.iter().filter(|_| !alone).cloned() {
            self.events.publish(&ContextEvent::HotKey {
                batch,
                operator: hot.operator,
                key: hot.key,
                values: hot.values,
                of: hot.of,
            });
        }
    }

    /// Tells each source what became of its records. A batch that was run for its state alone says
    /// nothing of the outputs.
    fn adapt_rates(&self, ran: &Ran, waited: Duration) {
        if ran.purpose == Purpose::Rebuild {
            return;
        }
        for (source, records) in self.sources.iter().zip(&ran.records) {
            let Some(gate) = source.rate() else {
                continue;
            };
            let changed = gate.completed(BatchOfSource {
                at: self.settings.clock.now(),
                records: *records,
                took: ran.took,
                waited,
            });
            if let Some(records_per_second) = changed {
                self.events.publish(&ContextEvent::RateChanged {
                    source: source.name().to_owned(),
                    records_per_second,
                });
            }
        }
    }

    pub(crate) fn run_manually(&self, snapshot: Snapshot) -> Result<Batch> {
        if self.settings.mode != BatchMode::Manual || self.status.state() != ContextState::Active {
            return Err(Error::LifeCycle(
                "run_batch needs an active context in manual mode",
            ));
        }
        if thread_role::role() != Role::Outside {
            return Err(Error::LifeCycle("a batch cannot run inside another one"));
        }
        let mut driver = self.driver.lock();
        let driver = driver
            .as_mut()
            .ok_or(Error::LifeCycle("the context is being stopped"))?;
        let _role = RoleGuard::enter(Role::Batch);
        let cut = match self.cut() {
            Err(error) if error.is_transient() => return Err(error),
            cut => cut,
        };
        let ran = cut.and_then(|cut| {
            let mut batches = cut.batches();
            batches.try_for_each(|timed| self.run(driver, timed, snapshot))?;
            Ok(cut.last.batch)
        });
        ran.map_err(|error| {
            self.quiesce();
            let error = Arc::new(error);
            self.stopped(Some(Arc::clone(&error)));
            Error::Ended(error)
        })
    }

    /// Tells everyone that the context has stopped, and why if that was an error.
    pub(crate) fn stopped(&self, error: Option<Arc<Error>>) {
        self.published.stopped(error.clone());
        let stopped = ContextEvent::Stopped { error };
        match self.status.state() {
            // It was said already: what follows may only tell why.
            ContextState::Stopped => self.status.on_event(&stopped),
            _ => self.events.publish(&stopped),
        }
    }

    /// The context runs from now on, unless it ran before.
    pub(crate) fn activate(&self) -> Result<()> {
        self.status.activate()?;
        self.events.publish(&ContextEvent::Started);
        Ok(())
    }

    /// Ends the context because a thread failed.
    pub(crate) fn end_with(&self, error: Error) {
        tracing::error!(%error, "the streaming context stops");
        self.stopped(Some(Arc::new(error)));
        self.quiesce();
        self.queue.end(StopMode::Immediate);
    }

    /// Lets nothing more in.
    pub(crate) fn quiesce(&self) {
        self.admission.close();
        self.sources.iter().for_each(SourceContext::stop);
    }
}

/// Takes variables and results out of what a checkpoint had.
fn restore_side_values(plan: &Plan, recovered: &mut Recovered, events: &Events) -> Result<()> {
    let values = plan.variables.restore(&mut recovered.state);
    let values = Arc::new(values.map_err(variable_failed)?);
    plan.variables.newest.set(values);
    let checkpoint = recovered.report.checkpoint;
    plan.datasets.restore(&mut recovered.state, checkpoint)?;
    let counts = plan.refusing.counts.restore(&mut recovered.state);
    counts.map_err(refused_failed)?;
    for slot in &plan.datasets.slots {
        events.add_listener(Arc::<DatasetSlot>::clone(slot));
    }
    Ok(())
}

/// What computes past batches again.
fn replayer(settings: &Settings, plan: &Arc<Plan>, recovered: &Recovered) -> Arc<Replayer> {
    let retained = Arc::new(Retained::default());
    retained.set(recovered.checkpoints.all());
    let replayer = Arc::new(Replayer {
        settings: settings.clone(),
        plan: Arc::clone(plan),
        wal: Arc::clone(&recovered.wal),
        program: recovered.program.clone(),
        zero_ms: recovered.zero_ms,
        key_groups: recovered.key_groups,
        retained,
        busy: Mutex::default(),
    });
    let recompute: Arc<dyn Recompute> = Arc::<Replayer>::clone(&replayer);
    plan.datasets.bind(&Arc::downgrade(&recompute));
    replayer
}
