//! What disk holds of a program, read and checked. Nothing is written.

use crate::batch::tick::Timed;
use crate::checkpointing::metadata::Metadata;
use crate::engine_log::ledger::Settled;
use crate::engine_log::log_view::LogView;
use crate::engine_log::program::{HashSeed, Program};
use crate::engine_log::replay::Replay;
use crate::error::{Error, Result};
use crate::mismatch::Mismatch;
use crate::plan::program::Plan;
use crate::plan::source_stream::SourceStream;
use crate::recovery::metadata::read_metadata;
use crate::recovery::outputs::BatchInDoubt;
use crate::recovery::sources::{SourcesOnDisk, positions, restore_settled};
use crate::recovery::states::restore;
use crate::settings::Settings;
use crate::state::key_group::KeyGroups;
use crate::state::restore::Restored;
use highwater_checkpoint::Checkpoint;
use highwater_wal::{Lsn, StreamId};
use std::collections::{BTreeMap, BTreeSet};

/// What a checkpoint and the log after it have, checked against the program.
pub(crate) struct Found {
    /// The checkpoint started from: number, batch, LSN.
    pub(crate) checkpoint: Option<(u64, Timed)>,
    /// The program entry of the directory, if it is not new ...
    pub(crate) before: Option<Program>,
    /// ... and what it becomes.
    pub(crate) program: Program,
    pub(crate) key_groups: KeyGroups,
    /// The stream of each source of the program.
    pub(crate) streams: Vec<SourceStream>,
    /// What the manifest says.
    pub(crate) metadata: Metadata,
    /// Log bytes after the checkpoint.
    pub(crate) bytes_to_replay: u64,
    /// Decoded, by state.
    pub(crate) states: BTreeMap<usize, Restored>,
    /// The sources as of the checkpoint.
    pub(crate) settled: BTreeMap<StreamId, Settled>,
    pub(crate) replay: Replay,
    /// Where windows are aligned, if there was a batch.
    pub(crate) zero_ms: Option<u64>,
    /// The newest batch whose outputs were committed.
    pub(crate) committed: Option<u64>,
    /// The newest committed batch, if its outputs may not be published.
    pub(crate) in_doubt: Option<BatchInDoubt>,
    /// The newest committed batch in which each output of the program was called.
    pub(crate) called: BTreeMap<String, u64>,
}

impl Found {
    /// Reads the checkpoint, and what the log has after it. `at` is the checkpoint's batch, if the
    /// log is one that does not have its cut.
    pub(crate) fn read(
        settings: &Settings,
        plan: &Plan,
        log: LogView<'_>,
        checkpoint: Option<&Checkpoint>,
        at: Option<Timed>,
    ) -> Result<Self> {
        let from = checkpoint.map_or_else(|| log.first_lsn(), |found| Lsn::new(found.lsn()));
        let OnDisk {
            metadata,
            mut replay,
            zero_ms,
            at_checkpoint,
        } = OnDisk::read(settings, plan, log, (checkpoint, at), from)?;
        let before = found_program(settings, log, metadata.as_ref(), &replay)?;
        let (mut program, key_groups) = check_program(settings, before.as_ref())?;
        program.set_foreign(&replay.foreign);
        let settled = settled(checkpoint, metadata.as_ref())?;
        let positions = positions(&settled, &replay);
        let sources = SourcesOnDisk {
            plan,
            changes: &settings.sources,
            replay: &replay,
            positions: &positions,
            metadata: metadata.as_ref(),
        };
        sources.apply(&mut program)?;
        let streams = sources.streams(&program, log.end_lsn()?);
        sources.check_records(log, from, &program, &streams)?;
        sources.report_skipped(&program);
        let states = restored_states(
            settings,
            plan,
            checkpoint.zip(metadata.as_ref()),
            key_groups,
        )?;
        let in_doubt = match settings.muted {
            // Nothing is published, so nothing is left behind.
            true => None,
            false => BatchInDoubt::find(&mut replay, plan, &settings.dropped_outputs)?,
        };
        let committed = replay.committed.max(at_checkpoint.map(|at| at.batch.id));
        let number = checkpoint.map(Checkpoint::number).zip(at_checkpoint);
        Ok(Self {
            called: calls(plan, &replay),
            checkpoint: number,
            before,
            program,
            key_groups,
            streams,
            metadata: metadata.unwrap_or_default(),
            bytes_to_replay: log.end_lsn()?.bytes_since(from),
            states,
            settled,
            replay,
            zero_ms,
            committed,
            in_doubt,
        })
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
        log: LogView<'_>,
        (checkpoint, at): (Option<&Checkpoint>, Option<Timed>),
        from: Lsn,
    ) -> Result<Self> {
        let metadata = checkpoint.map(|checkpoint| read_metadata(settings, checkpoint));
        let metadata = metadata.transpose()?;
        let known = metadata.as_ref().map(|metadata| &metadata.program);
        let mut replay = Replay::read(log, &settings.dir, from, known)?;
        let interval_ms = metadata.as_ref().map(|metadata| metadata.batch_interval_ms);
        let zero_ms = metadata.as_ref().and_then(|metadata| metadata.zero_ms);
        let interval_ms = interval_ms.unwrap_or(settings.interval_ms());
        let zero_ms = replay.complete_version_1(interval_ms, zero_ms);
        let zero_ms = check_interval(settings, plan, metadata.as_ref(), (&replay, zero_ms))?;
        let at_checkpoint = checkpoint.map(|checkpoint| match at {
            Some(at) => Ok(at),
            None => take_checkpointed_batch(settings, checkpoint, &mut replay),
        });
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
    log: LogView<'_>,
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
            let (dir, first) = (settings.dir.display().to_string(), log.first_lsn().get());
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
