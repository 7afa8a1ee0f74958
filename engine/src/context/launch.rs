//! From what was found on disk to a driver that runs: the first half of a start.

use crate::batch::tick::Timed;
use crate::checkpointing::capture::{CopyMemory, Whole};
use crate::checkpointing::checkpointer::{Checkpointer, Schedule};
use crate::checkpointing::copies::ReadBack;
use crate::checkpointing::entries::KnownEntries;
use crate::checkpointing::metadata::Metadata;
use crate::checkpointing::target::RecoveryTarget;
use crate::checkpointing::writer::Writer;
use crate::context::core::Core;
use crate::dead_letters::desk::Desk;
use crate::dead_letters::outlet::Outlet;
use crate::engine_log::cut::Cut;
use crate::engine_log::entry::{self, Entry, Published};
use crate::error::{Error, Result};
use crate::exec::executor::Executor;
use crate::ingest::offset_sources::{OffsetSource, OffsetSources};
use crate::queries::answer::End;
use crate::recovery::recover::Recovered;
use crate::recovery::states::begin;
use crate::replay::replayer::Replayer;
use crate::scheduler::attempts::Attempts;
use crate::scheduler::commit::Committer;
use crate::scheduler::driver::Driver;
use crate::scheduler::rebuild::Rebuild;
use crate::scheduler::refused_records::RefusedRecords;
use crate::scheduler::side_values::SideValues;
use crate::scheduler::workers::Workers;
use crate::settings::BatchMode;
use crate::sink::backoff::Backoff;
use crate::sink::output::{InDoubt, OutputOwner, SinkContext};
use crate::sink::retry::OutputRetry;
use crate::state::key_group::KeyGroups;
use crate::state::table::block::RestoredState;
use highwater_wal::Lsn;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Opens the outputs and builds the driver; also the batches to replay.
pub(crate) fn driver(core: &Core) -> Result<(Driver, Vec<Cut>)> {
    let recovered = core.recovered.lock().take();
    let recovered = recovered.ok_or(Error::LifeCycle("a streaming context can be started once"))?;
    let backoff = match core.settings.mode {
        BatchMode::Clock => Backoff::of(&core.admission),
        BatchMode::Manual => Backoff::none(),
    };
    let desk = open_desk(core, &recovered)?;
    open_outputs(core, &recovered, &backoff)?;
    let by_offset = open_sources(core, &recovered)?;
    assemble(core, recovered, backoff, (desk, by_offset))
}

/// A driver for the batches up to `until`, which have run before: the same, but no output and no
/// store of dead letters is opened. Sources that keep their own data are opened if one of the
/// batches needs them, and are never told to forget anything.
pub(crate) fn muted_driver(core: &Core, until: u64) -> Result<(Driver, Vec<Cut>)> {
    let recovered = core.recovered.lock().take();
    let mut recovered = recovered.ok_or(Error::LifeCycle("a log is replayed once"))?;
    // The record of a commit may be durable after the checkpoint of its batch.
    recovered.committed = recovered.committed.max(Some(until));
    let needed = recovered
        .cuts
        .iter()
        .take_while(|cut| cut.first_id() <= until);
    let needed: BTreeSet<u16> = needed
        .flat_map(|cut| cut.sources.iter().map(|range| range.stream))
        .collect();
    let sources = sources_by_offset(core, &recovered);
    for of in sources.filter(|of| needed.contains(&of.stream)) {
        of.open()?;
    }
    let by_offset = OffsetSources::open(Vec::new(), &recovered.cuts, None)?;
    assemble(
        core,
        recovered,
        Backoff::none(),
        (None, Arc::new(by_offset)),
    )
}

/// Puts the driver together.
fn assemble(
    core: &Core,
    recovered: Recovered,
    backoff: Backoff,
    (desk, by_offset): (Option<Arc<Desk>>, Arc<OffsetSources>),
) -> Result<(Driver, Vec<Cut>)> {
    let refused = refused_records(core, &recovered, &backoff, desk);
    let committer = committer(core, backoff, recovered.committed);
    let workers = core.settings.workers.get();
    let plan = Arc::clone(&core.plan);
    let metadata = metadata(core, &recovered);
    let mut state = recovered.state;
    begin_states(core, recovered.key_groups, &mut state)?;
    let clock = Arc::clone(&core.settings.clock);
    let executor = Executor::start(plan, recovered.key_groups, workers, state, clock)?;
    let writer = Writer {
        checkpoints: recovered.checkpoints,
        wal: Arc::clone(&core.wal),
        kept: core
            .wal
            .retain_as(core.wal.first_lsn(), "the oldest retained checkpoint")?,
        retained: Arc::clone(&core.replayer.retained),
        plan: Arc::clone(&core.plan),
        clock: Arc::clone(&core.settings.clock),
        metadata,
        events: Arc::clone(&core.events),
        lineage: Arc::clone(&core.lineage),
        faults: core.settings.faults,
        parent: recovered.checkpoint.map(|(number, _)| number),
        known: KnownEntries::default(),
        read_back: ReadBack::default(),
    };
    let newest_cut = recovered.cuts.last().map_or(0, |cut| cut.last.batch.id);
    let start = recovered.checkpoint.map(|(_, at)| at);
    core.published.starts(shown_at(core, start), newest_cut);
    let last = recovered.checkpoint;
    let last = last.map_or((0, core.lineage.replay_from), |(_, at)| {
        (at.batch.id, at.batch.to)
    });
    let checkpointer = checkpointer(core, last, recovered.whole, writer)?;
    for cut in &recovered.cuts {
        core.cut_batches.was_cut(cut);
    }
    let driver = Driver {
        admission: Arc::clone(&core.admission),
        workers: driver_workers(core, executor),
        attempts: attempts(core),
        committer,
        checkpointer,
        side: SideValues::new(&core.plan),
        sources: core.sources.clone(),
        by_offset,
        retained: Arc::clone(&core.replayer.retained),
        committed: recovered.committed,
        refused,
        published: Arc::clone(&core.published),
        states: Arc::clone(&core.states),
        cut_batches: Arc::clone(&core.cut_batches),
        chunk_size: core.settings.chunk_size,
        begun: None,
    };
    Ok((driver, recovered.cuts))
}

/// What readers of states see when the context starts from the checkpoint after `start`.
fn shown_at(core: &Core, start: Option<Timed>) -> End {
    match start {
        Some(Timed { batch, .. }) => End::of(&batch),
        None => End {
            batch: 0,
            time_ms: 0,
            to: core.lineage.replay_from,
        },
    }
}

/// What the engine writes into each manifest.
fn metadata(core: &Core, recovered: &Recovered) -> Metadata {
    Metadata {
        program: recovered.program.clone(),
        batch_interval_ms: core.settings.interval_ms(),
        numbers: recovered.numbers(),
        workers: core.settings.workers.get(),
        operators: core.plan.operators.clone(),
        migrations: recovered.migrations.clone(),
        dropped: recovered.dropped.clone(),
        panes: core.plan.panes.clone(),
        predecessors: recovered.predecessors.clone(),
        settings: core.settings.shown(),
        ..Metadata::default()
    }
}

/// What takes checkpoints after the one of the batch and LSN `last`; the next one has all of the
/// states `whole`.
fn checkpointer(
    core: &Core,
    last: (u64, Lsn),
    whole: Whole,
    writer: Writer,
) -> Result<Checkpointer> {
    let schedule = Schedule {
        every: core.settings.checkpoint_every(),
        target: core.settings.policy.target().map(|target| RecoveryTarget {
            target,
            pace: Arc::clone(&core.lineage.pace),
        }),
        clock: Arc::clone(&core.settings.clock),
        last,
        max_lineage: core.settings.max_unprocessed_bytes,
    };
    let memory = CopyMemory::new(core.settings.checkpoint_memory);
    let whole = (whole, Arc::new(memory));
    let status = Arc::clone(&core.checkpoints);
    Ok(match core.settings.mode {
        BatchMode::Clock => Checkpointer::in_background(schedule, whole, writer, status)?,
        BatchMode::Manual => Checkpointer::inline(schedule, whole, writer, status),
    })
}

/// Opens the sources that keep their own data. The next cut asks them, and queues, for the first
/// time.
fn open_sources(core: &Core, recovered: &Recovered) -> Result<Arc<OffsetSources>> {
    let sources = sources_by_offset(core, recovered);
    let checkpoint = recovered.checkpoint.map(|(_, at)| at.batch.id);
    let opened = OffsetSources::open(sources.collect(), &recovered.cuts, checkpoint)?;
    let opened = Arc::new(opened);
    let queues = core.plan.sources.iter().zip(&core.sources);
    let queues = queues.filter_map(|(info, context)| Some((info.queue()?, context)));
    let queues = queues.map(|(queue, context)| (Arc::clone(queue), context.clone()));
    let mut cutter = core.cutter.lock();
    cutter.by_offset = Arc::clone(&opened);
    cutter.queues = queues.collect();
    Ok(opened)
}

/// The sources that keep their own data.
fn sources_by_offset(core: &Core, recovered: &Recovered) -> impl Iterator<Item = OffsetSource> {
    let sources = core.plan.sources.iter();
    let sources = sources.zip(&core.sources).zip(&recovered.streams);
    sources.filter_map(|((info, context), stream)| {
        Some(OffsetSource {
            stream: stream.id.0,
            source: Arc::clone(info.by_offset()?),
            context: context.clone(),
        })
    })
}

fn driver_workers(core: &Core, executor: Executor) -> Workers {
    let rebuild: Arc<dyn Rebuild> = Arc::<Replayer>::clone(&core.replayer);
    let (ending, published) = (&core.queue.asked, &core.published);
    Workers::new(executor, rebuild, Arc::clone(ending), Arc::clone(published))
}

fn attempts(core: &Core) -> Attempts {
    Attempts {
        max_failures: core.settings.max_batch_failures,
        always_rebuild: core.settings.always_rebuild,
        pauses: core.settings.mode == BatchMode::Clock,
        clock: Arc::clone(&core.settings.clock),
        ending: Arc::clone(&core.queue.asked),
        events: Arc::clone(&core.events),
    }
}

fn committer(core: &Core, backoff: Backoff, published: Option<u64>) -> Committer {
    let settings = &core.settings;
    let by_hand = settings.mode == BatchMode::Manual;
    Committer {
        plan: Arc::clone(&core.plan),
        wal: Arc::clone(&core.wal),
        clock: Arc::clone(&settings.clock),
        events: Arc::clone(&core.events),
        backoff: match settings.output_retry {
            Some(_) => Backoff::of(&core.admission),
            None => backoff,
        },
        retry: settings.output_retry.unwrap_or(match by_hand {
            true => OutputRetry::never(),
            false => OutputRetry::forever(),
        }),
        seed: settings.seed.unwrap_or_else(|| {
            let id = core.wal.log_id();
            u64::try_from(id & u128::from(u64::MAX)).unwrap_or_default()
        }),
        workers: settings.workers.get(),
        // By hand, every disk operation comes in the same order in each run.
        in_parallel: !by_hand,
        faults: settings.faults,
        published,
    }
}

/// Gives the states that are new in the directory what they begin with.
fn begin_states(
    core: &Core,
    groups: KeyGroups,
    states: &mut BTreeMap<usize, RestoredState>,
) -> Result<()> {
    for (index, keys) in begin(&core.plan, groups, states)? {
        core.states.restored(index, keys);
    }
    Ok(())
}

/// What batches have refused, and may refuse.
fn refused_records(
    core: &Core,
    recovered: &Recovered,
    backoff: &Backoff,
    desk: Option<Arc<Desk>>,
) -> RefusedRecords {
    RefusedRecords {
        plan: Arc::clone(&core.plan),
        committed: recovered.refused.clone(),
        max_records: core.settings.max_refused_records,
        max_bytes: core.settings.max_dead_letter_bytes,
        desk,
        backoff: backoff.clone(),
        faults: core.settings.faults,
    }
}

/// Opens the store of dead letters, if the program puts records aside.
fn open_desk(core: &Core, recovered: &Recovered) -> Result<Option<Arc<Desk>>> {
    let outlets = core
        .plan
        .refusing
        .keeping()
        .filter_map(|(operator, index)| {
            let source = core.sources.get(index)?.clone();
            let outlet = Outlet {
                stream: recovered.streams.get(index)?.id,
                check: core.plan.sources.get(index)?.check.clone(),
                source,
            };
            Some((operator.to_owned(), outlet))
        });
    let outlets: BTreeMap<String, Outlet> = outlets.collect();
    if outlets.is_empty() {
        return Ok(None);
    }
    let desk = Desk::open(
        &core.settings,
        &core.admission,
        outlets,
        recovered.committed,
        recovered.last_cut(),
    )?;
    let desk = Arc::new(desk);
    core.cutter.lock().desk = Some(Arc::clone(&desk));
    *core.desk.lock() = Some(Arc::clone(&desk));
    Ok(Some(desk))
}

/// Opens the outputs. What they have staged of the newest committed batch is published, as the log
/// lists it.
fn open_outputs(core: &Core, recovered: &Recovered, backoff: &Backoff) -> Result<()> {
    let batches = recovered.batches();
    let ids = recovered.predecessors.iter();
    let predecessors: Vec<u128> = ids
        .filter_map(|id| u128::from_str_radix(id, 16).ok())
        .collect();
    for output in &core.plan.outputs {
        let shown = core.plan.operator_name(output.operator);
        let name = core.plan.output_name(output.operator);
        let owner = OutputOwner {
            log_id: core.wal.log_id(),
            application: core.settings.application.clone(),
            output: name.clone(),
            predecessors: predecessors.clone(),
        };
        let in_doubt = recovered.in_doubt.as_ref();
        let in_doubt = in_doubt.map_or(InDoubt::Nothing, |batch| batch.of(&name));
        let context = SinkContext {
            disk: Arc::clone(&core.settings.disk),
            committed: recovered.committed,
            backoff: backoff.clone(),
            owner,
            batches: Arc::clone(&batches),
            called: recovered.called.get(&name).copied(),
            known: recovered.known_names.contains(&name),
            in_doubt,
        };
        output.sink.open(&shown, &context)?;
        if let InDoubt::Listed { batch, parts } = &context.in_doubt {
            output.sink.publish_again(&shown, batch, parts)?;
        }
    }
    let in_doubt = recovered.in_doubt.as_ref();
    if let Some(published) = in_doubt.filter(|batch| batch.has_parts()) {
        let batch = published.batch.id;
        let entry = Entry::Published(Published { batch });
        core.wal.sync_to(entry::append(&core.wal, &entry)?)?;
    }
    Ok(())
}
