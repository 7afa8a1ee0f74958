//! Recovery: the newest valid checkpoint, then what the log holds after it, checked against the
//! program.
//!
//! Nothing is written before every check has passed.

use crate::batch::Batch;
use crate::batch::tick::Timed;
use crate::checkpointing::capture::Whole;
use crate::checkpointing::metadata::Metadata;
use crate::engine_log::cut::Cut;
use crate::engine_log::ledger::{Frames, Ledger, Settled};
use crate::engine_log::program::{HashSeed, Program};
use crate::engine_log::replay::Replay;
use crate::error::{Error, Result};
use crate::mismatch::Mismatch;
use crate::plan::program::Plan;
use crate::plan::source_stream::SourceStream;
use crate::recovery::metadata::read_metadata;
use crate::recovery::outputs::BatchInDoubt;
use crate::recovery::report::{IncompleteBatch, RecoveryReport, StateReport};
use crate::recovery::sources::{SourcesOnDisk, positions, restore_settled};
use crate::recovery::states::{migrations, restore, whole};
use crate::recovery::stores::Stores;
use crate::refused::lists::Refused;
use crate::settings::Settings;
use crate::state::key_group::KeyGroups;
use crate::state::restore::Restored;
use crate::state::table::block::RestoredState;
use highwater_checkpoint::{Checkpoint, Checkpoints};
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
        let from = replay_start(&wal, checkpoint.as_ref());
        let OnDisk {
            metadata,
            mut replay,
            zero_ms,
            at_checkpoint,
        } = OnDisk::read(settings, plan, &wal, checkpoint.as_ref(), from)?;
        let found = found_program(settings, &wal, metadata.as_ref(), &replay)?;
        let (mut program, key_groups) = check_program(settings, found.as_ref())?;
        program.set_foreign(&replay.foreign);
        let settled = settled(checkpoint.as_ref(), metadata.as_ref())?;
        let positions = positions(&settled, &replay);
        let sources = SourcesOnDisk {
            plan,
            changes: &settings.sources,
            replay: &replay,
            positions: &positions,
            metadata: metadata.as_ref(),
        };
        sources.apply(&mut program)?;
        let streams = sources.streams(&program, wal.end_lsn());
        sources.check_records(&wal, from, &program, &streams)?;
        sources.report_skipped(&program);
        let at = checkpoint.as_ref().zip(metadata.as_ref());
        let state = restored_states(settings, plan, at, key_groups)?;
        let loaded_in = settings.clock.now().saturating_sub(began);
        let metadata = metadata.unwrap_or_default();
        let in_doubt = BatchInDoubt::find(&mut replay, plan, &settings.dropped_outputs)?;
        let committed = replay.committed.max(at_checkpoint.map(|at| at.batch.id));
        let checkpoint = checkpoint.zip(at_checkpoint);
        let checkpoint = checkpoint.map(|(c, at)| (c.manifest().number, at));
        Ok(Self {
            report: RecoveryReport {
                states: reports(plan, &state),
                bytes_to_replay: wal.end_lsn().bytes_since(from),
                zero_ms,
                loaded_in,
                ..report(&replay, checkpoint, committed)
            },
            called: calls(plan, &replay),
            whole: whole(plan, &checkpoints, checkpoint.map(|(n, _)| n), &state),
            wal,
            checkpoints,
            checkpoint,
            program_is_new: found.as_ref() != Some(&program),
            program,
            key_groups,
            streams,
            migrations: migrations(plan, &settings.states, &metadata.migrations),
            dropped: settings.states.drops(),
            keys: state.iter().map(|(i, s)| (*i, s.keys)).collect(),
            state: state.into_iter().map(|(i, s)| (i, s.groups)).collect(),
            settled,
            frames: replay.frames,
            newest_data: replay.newest_data,
            zero_ms,
            cuts: replay.cuts,
            committed,
            known_names: metadata.names(),
            predecessors: metadata.predecessors,
            in_doubt,
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

/// What the checkpoint's manifest says, and the log after it.
struct OnDisk {
    metadata: Option<Metadata>,
    replay: Replay,
    zero_ms: Option<u64>,
    at_checkpoint: Option<Timed>,
}

impl OnDisk {
    fn read(
        settings: &Settings,
        plan: &Plan,
        wal: &Wal,
        checkpoint: Option<&Checkpoint>,
        from: Lsn,
    ) -> Result<Self> {
        let metadata = checkpoint.map(|checkpoint| read_metadata(settings, checkpoint));
        let metadata = metadata.transpose()?;
        let known = metadata.as_ref().map(|metadata| &metadata.program);
        let mut replay = Replay::read(wal, &settings.dir, from, known)?;
        let interval_ms = metadata.as_ref().map(|metadata| metadata.batch_interval_ms);
        let zero_ms = metadata.as_ref().and_then(|metadata| metadata.zero_ms);
        let interval_ms = interval_ms.unwrap_or(settings.interval_ms());
        let zero_ms = replay.complete_version_1(interval_ms, zero_ms);
        let zero_ms = check_interval(settings, plan, metadata.as_ref(), (&replay, zero_ms))?;
        let at_checkpoint =
            checkpoint.map(|checkpoint| take_checkpointed_batch(settings, checkpoint, &mut replay));
        let at_checkpoint = at_checkpoint.transpose()?;
        replay.note_positions();
        report_refused(plan, &replay);
        Ok(Self {
            at_checkpoint,
            metadata,
            replay,
            zero_ms,
        })
    }
}

/// Where replay begins.
fn replay_start(wal: &Wal, checkpoint: Option<&Checkpoint>) -> Lsn {
    checkpoint.map_or_else(|| wal.first_lsn(), |found| Lsn::new(found.lsn()))
}

/// The sources as of the checkpoint.
fn settled(
    checkpoint: Option<&Checkpoint>,
    metadata: Option<&Metadata>,
) -> Result<BTreeMap<StreamId, Settled>> {
    let found = checkpoint.zip(metadata);
    let settled = found.map(|(found, metadata)| restore_settled(found, metadata));
    Ok(settled.transpose()?.unwrap_or_default())
}

/// The states of the checkpoint, decoded.
fn restored_states(
    settings: &Settings,
    plan: &Plan,
    on_disk: Option<(&Checkpoint, &Metadata)>,
    key_groups: KeyGroups,
) -> Result<BTreeMap<usize, Restored>> {
    let Some((checkpoint, done)) = on_disk else {
        return Ok(BTreeMap::new());
    };
    restore(
        plan,
        &settings.states,
        checkpoint,
        done,
        key_groups,
        settings.restore_threads(),
    )
}

/// The newest committed batch in which each output was called, by name.
fn calls(plan: &Plan, replay: &Replay) -> BTreeMap<String, u64> {
    let names = plan.outputs.iter().map(|o| plan.output_name(o.operator));
    let called = names.filter_map(|name| Some((replay.last_call(&name)?, name)));
    called.map(|(batch, name)| (name, batch)).collect()
}

/// What checkpoint and log say of batches.
fn report(
    replay: &Replay,
    checkpoint: Option<(u64, Timed)>,
    committed: Option<u64>,
) -> RecoveryReport {
    let last = replay.cuts.last().map(|cut| cut.last);
    let last = last.or(checkpoint.map(|(_, at)| at));
    RecoveryReport {
        checkpoint: checkpoint.map(|(number, at)| (number, at.batch.id)),
        batches_to_replay: replay.cuts.iter().map(Cut::count).sum(),
        committed,
        incomplete: incomplete(&replay.cuts, committed),
        record_versions: replay.versions,
        last_tick_ms: last.map(|last| last.tick.time_ms),
        ..RecoveryReport::default()
    }
}

/// Windows are aligned to a zero for good: with another batch interval it must be a multiple of
/// that too. (So must lengths and slides: that is an error of the program.) Without windows the
/// next multiple below is as good.
fn check_interval(
    settings: &Settings,
    plan: &Plan,
    metadata: Option<&Metadata>,
    (replay, zero_ms): (&Replay, Option<u64>),
) -> Result<Option<u64>> {
    let interval_ms = settings.interval_ms().max(1);
    let Some(zero_ms) = zero_ms else {
        return Ok(None);
    };
    let rest = zero_ms % interval_ms;
    match plan.first_window().filter(|_| rest != 0) {
        None => Ok(Some(zero_ms - rest)),
        Some(window) => {
            let newest = replay.cuts.last().map(|cut| cut.last.tick.interval_ms);
            let before = newest.or(metadata.map(|m| m.batch_interval_ms));
            Err(Mismatch::BatchInterval {
                then_ms: before.unwrap_or(interval_ms),
                now_ms: interval_ms,
                zero_ms,
                operator: plan.operator_name(window),
            }
            .into())
        }
    }
}

/// The cuts whose last batch was not committed, with the part of their batches that was not.
fn incomplete(cuts: &[Cut], committed: Option<u64>) -> Vec<IncompleteBatch> {
    let open = cuts
        .iter()
        .filter(|cut| committed.is_none_or(|newest| cut.last.batch.id > newest));
    open.map(|cut| {
        let newest = committed.map_or(0, |newest| newest + 1);
        IncompleteBatch {
            first_id: cut.first_id().max(newest),
            batch: cut.last.batch,
            part: cut.last.tick.part,
            is_last_part: cut.last.tick.is_last_part,
        }
    })
    .collect()
}

/// Warns where the log knows refused records of operators that the program does not have.
fn report_refused(plan: &Plan, replay: &Replay) {
    let lists = replay.refused.values();
    let names: BTreeSet<String> = lists
        .flat_map(|refused| refused.counts().into_keys())
        .collect();
    for operator in names {
        if plan.refusing.operator(&operator).is_none() {
            tracing::warn!(
                operator,
                "batches that run again have refused records in this operator, which the program does not have: nothing is left out there. If it was renamed, give it this name with .named(..)"
            );
        }
    }
}

fn reports(plan: &Plan, state: &BTreeMap<usize, Restored>) -> Vec<StateReport> {
    let named = state
        .iter()
        .filter_map(|(index, restored)| Some((plan.states.get(*index)?, restored)));
    named
        .map(|(slot, restored)| StateReport {
            name: slot.name.clone(),
            keys: restored.keys,
            moved_keys: restored.moved,
            ignored_fields: restored.ignored.iter().cloned().collect(),
        })
        .collect()
}

/// A checkpoint's LSN is the end of its batch, so the cut of that batch comes after it. It is the
/// first one there, unless earlier batches were cut at the same time. What is left of the cut, if
/// the batch was an empty tick of it, is to be replayed.
fn take_checkpointed_batch(
    settings: &Settings,
    checkpoint: &Checkpoint,
    replay: &mut Replay,
) -> Result<Timed> {
    let manifest = checkpoint.manifest();
    let id = manifest.batch.id;
    let earlier = replay
        .cuts
        .iter()
        .take_while(|cut| cut.last.batch.id < id)
        .count();
    drop(replay.cuts.drain(..earlier));
    let found = replay.cuts.first_mut();
    let taken = found.and_then(|cut| {
        let at = cut.batch(id)?;
        (at.batch.to.get() == manifest.lsn).then_some((at, cut.drop_through(id)))
    });
    match taken {
        Some((at, has_more)) => {
            if !has_more {
                drop(replay.cuts.remove(0));
            }
            Ok(at)
        }
        None => Err(Error::EngineLog {
            dir: settings.dir.clone(),
            lsn: Lsn::new(manifest.lsn),
            what: format!(
                "checkpoint {} was taken at the end of batch {id}, but the log has {}",
                manifest.number,
                replay
                    .cuts
                    .first()
                    .map_or("no cut there".to_owned(), |cut| {
                        format!("the cut of {}", cut.last.batch)
                    }),
            ),
        }),
    }
}

/// The program entry of the directory, if it is not new.
fn found_program(
    settings: &Settings,
    wal: &Wal,
    metadata: Option<&Metadata>,
    replay: &Replay,
) -> Result<Option<Program>> {
    if let Some((_, program)) = replay.programs.last() {
        return Ok(Some(program.clone()));
    }
    match metadata {
        Some(metadata) => Ok(Some(metadata.program.clone())),
        None if replay.cuts.is_empty() && replay.foreign.is_empty() => Ok(None),
        None => {
            let (dir, first) = (settings.dir.display().to_string(), wal.first_lsn().get());
            Err(Mismatch::NoCheckpoint { dir, first }.into())
        }
    }
}

/// The program entry of this run, from the one of the directory if there is one, and the key groups
/// that follow from it.
fn check_program(settings: &Settings, found: Option<&Program>) -> Result<(Program, KeyGroups)> {
    let mut program = found.cloned().unwrap_or_else(|| Program {
        application: settings.application.clone(),
        key_groups: settings.key_groups,
        ..Program::default()
    });
    if program.application != settings.application {
        let (on_disk, in_code) = (program.application, settings.application.clone());
        return Err(Mismatch::OtherApplication { on_disk, in_code }.into());
    }
    if program.key_groups != settings.key_groups {
        let (on_disk, in_code) = (program.key_groups, settings.key_groups);
        return Err(Mismatch::KeyGroups { on_disk, in_code }.into());
    }
    // A directory of version 1 has no seed: it gets one now, and keeps it.
    let fresh = || HashSeed::fresh(settings.seed);
    let HashSeed(seed) = *program.hash_seed.get_or_insert_with(fresh);
    let key_groups = KeyGroups::new(program.key_groups, seed);
    Ok((program, key_groups))
}
