//! Recovery: the newest valid checkpoint, then what the log holds after it, checked against the
//! program.
//!
//! Nothing is written before every check has passed.

use crate::batch::Batch;
use crate::checkpointing::metadata::Metadata;
use crate::engine_log::producers::Producers;
use crate::engine_log::program::{HashSeed, Program};
use crate::engine_log::replay::Replay;
use crate::error::{Error, Result};
use crate::mismatch::Mismatch;
use crate::plan::program::Plan;
use crate::plan::source_stream::SourceStream;
use crate::recovery::report::{RecoveryReport, StateReport};
use crate::recovery::sources::{SourcesOnDisk, merge, restore_producers};
use crate::recovery::states::{migrations, restore};
use crate::settings::Settings;
use crate::state::key_group::KeyGroups;
use crate::state::restore::Restored;
use crate::state::table::block::RestoredState;
use highwater_checkpoint::{
    Checkpoint, Checkpoints, LocalStore, LogBounds, Options, Ownership, Store,
};
use highwater_wal::{Lsn, StreamId, Wal};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that was found on disk, and what follows from it.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) wal: Arc<Wal>,
    pub(crate) checkpoints: Checkpoints,
    /// The checkpoint started from: number, batch, LSN.
    pub(crate) checkpoint: Option<(u64, Batch)>,
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
    /// Decoded state by state and key group.
    pub(crate) state: BTreeMap<usize, RestoredState>,
    /// Producer tables as of the checkpoint.
    pub(crate) producers: BTreeMap<StreamId, Producers>,
    /// Producer tables as of the end of the log.
    pub(crate) producers_now: BTreeMap<StreamId, Producers>,
    /// Batches to replay, in order.
    pub(crate) cuts: Vec<Batch>,
    /// The newest batch whose outputs were committed.
    pub(crate) committed: Option<u64>,
}

impl Recovered {
    /// Opens log and checkpoints and checks that the program fits them.
    pub(crate) fn open(settings: &Settings, plan: &Plan) -> Result<Self> {
        let wal = Arc::new(open_log(settings)?);
        let began = settings.clock.now();
        let (checkpoints, checkpoint) = open_checkpoints(settings, &wal)?;
        let from = checkpoint
            .as_ref()
            .map_or_else(|| wal.first_lsn(), |c| Lsn::new(c.manifest().lsn));
        let mut replay = Replay::read(&wal, &settings.dir, from)?;
        let (mut at_checkpoint, mut metadata) = (None, None);
        if let Some(checkpoint) = &checkpoint {
            at_checkpoint = Some(take_checkpointed_cut(settings, checkpoint, &mut replay)?);
            metadata = Some(read_metadata(settings, checkpoint)?);
        }
        let found = found_program(settings, &wal, metadata.as_ref(), &replay)?;
        let (mut program, key_groups) = check_program(settings, found.as_ref())?;
        let producers = match (&checkpoint, &metadata) {
            (Some(checkpoint), Some(metadata)) => restore_producers(checkpoint, metadata)?,
            _ => BTreeMap::new(),
        };
        let producers_now = merge(&producers, &replay);
        let sources = SourcesOnDisk {
            plan,
            changes: &settings.sources,
            replay: &replay,
            producers: &producers_now,
            metadata: metadata.as_ref(),
        };
        sources.apply(&mut program)?;
        let streams = sources.streams(&program, wal.end_lsn());
        sources.check_records(&wal, from, &program, &streams)?;
        sources.report_skipped(&program);
        let state = match (&checkpoint, &metadata) {
            (Some(checkpoint), Some(done)) => {
                let threads = settings.workers.get();
                restore(
                    plan,
                    &settings.states,
                    checkpoint,
                    done,
                    key_groups,
                    threads,
                )?
            }
            _ => BTreeMap::new(),
        };
        let loaded_in = settings.clock.now().saturating_sub(began);
        let metadata = metadata.unwrap_or_default();
        let committed = replay.committed.max(at_checkpoint.map(|b| b.id));
        let checkpoint = checkpoint
            .zip(at_checkpoint)
            .map(|(c, batch)| (c.manifest().number, batch));
        Ok(Self {
            report: RecoveryReport {
                checkpoint: checkpoint.map(|(number, batch)| (number, batch.id)),
                states: reports(plan, &state),
                batches_to_replay: replay.cuts.len() as u64,
                bytes_to_replay: wal.end_lsn().bytes_since(from),
                loaded_in,
            },
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
            producers,
            producers_now,
            cuts: replay.cuts,
            committed,
        })
    }

    /// Where the batch that is being filled began.
    pub(crate) fn last_cut(&self) -> Lsn {
        let last = self
            .cuts
            .last()
            .copied()
            .or(self.checkpoint.map(|(_, batch)| batch));
        last.map_or_else(|| self.wal.first_lsn(), |batch| batch.to)
    }

    /// The last batch that was cut: id and time; 0 before the first.
    pub(crate) fn last_batch(&self) -> (u64, u64) {
        let last = self
            .cuts
            .last()
            .copied()
            .or(self.checkpoint.map(|(_, batch)| batch));
        last.map_or((0, 0), |batch| (batch.id, batch.time_ms))
    }

    /// The batches that are known: the checkpoint's and those after it.
    pub(crate) fn batches(&self) -> Arc<[Batch]> {
        let checkpointed = self.checkpoint.map(|(_, batch)| batch);
        checkpointed.iter().chain(&self.cuts).copied().collect()
    }

    /// From where replay starts.
    pub(crate) fn replay_from(&self) -> Lsn {
        self.checkpoint
            .map_or_else(|| self.wal.first_lsn(), |(_, batch)| batch.to)
    }
}

fn open_log(settings: &Settings) -> Result<Wal> {
    let mut options = settings
        .log
        .clone()
        .disk(Arc::clone(&settings.disk))
        .clock(Arc::clone(&settings.clock));
    if let Some(seed) = settings.seed {
        options = options.log_id_seed(seed);
    }
    Ok(Wal::open_with(settings.dir.join("log"), options)?)
}

fn open_checkpoints(settings: &Settings, wal: &Wal) -> Result<(Checkpoints, Option<Checkpoint>)> {
    let local = || LocalStore::new(Arc::clone(&settings.disk), settings.dir.join("checkpoints"));
    let (store, ownership) = match &settings.checkpoint_store {
        // The lock of the log is held, so no other process writes checkpoints of this directory.
        None => (Arc::new(local()) as Arc<dyn Store>, Ownership::Sole),
        // A store elsewhere does not know that lock.
        Some(store) => (Arc::clone(store), Ownership::Shared),
    };
    let by_chance = Options::default();
    let options = Options {
        retain: settings.retain,
        ownership,
        writer: settings.seed.unwrap_or(by_chance.writer),
        ..by_chance
    };
    let mut checkpoints = Checkpoints::open(store, options)?;
    let bounds = LogBounds {
        log_id: wal.log_id(),
        first_lsn: wal.first_lsn().get(),
        end_lsn: wal.durable_lsn().get(),
    };
    let newest = checkpoints.newest_for(&bounds)?;
    Ok((checkpoints, newest))
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
/// first one there, unless earlier batches were cut at the same time.
fn take_checkpointed_cut(
    settings: &Settings,
    checkpoint: &Checkpoint,
    replay: &mut Replay,
) -> Result<Batch> {
    let manifest = checkpoint.manifest();
    let earlier = replay
        .cuts
        .iter()
        .take_while(|cut| cut.id < manifest.batch.id)
        .count();
    drop(replay.cuts.drain(..earlier));
    match replay.cuts.first() {
        Some(cut) if cut.id == manifest.batch.id && cut.to.get() == manifest.lsn => {
            Ok(replay.cuts.remove(0))
        }
        other => Err(Error::EngineLog {
            dir: settings.dir.clone(),
            lsn: Lsn::new(manifest.lsn),
            what: format!(
                "checkpoint {} was taken at the end of batch {}, but the log has {}",
                manifest.number,
                manifest.batch.id,
                other.map_or("no cut there".to_owned(), |cut| format!("the cut of {cut}")),
            ),
        }),
    }
}

/// What the engine has written into the checkpoint's manifest.
pub(crate) fn read_metadata(settings: &Settings, checkpoint: &Checkpoint) -> Result<Metadata> {
    let manifest = checkpoint.manifest();
    serde_json::from_value(manifest.metadata.clone()).map_err(|e| Error::EngineLog {
        dir: settings.dir.clone(),
        lsn: Lsn::new(manifest.lsn),
        what: format!("the metadata of checkpoint {}: {e}", manifest.number),
    })
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
        None if replay.cuts.is_empty() && replay.records.is_empty() => Ok(None),
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
