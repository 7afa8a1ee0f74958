//! Recovery: newest valid checkpoint, then what the log says happened behind it, checked against the program.
//!
//! Nothing is written before every check has passed.

use crate::batch::Batch;
use crate::checkpointer::{Metadata, PRODUCERS};
use crate::error::{Error, Mismatch, Result};
use crate::graph::{Plan, RestoredState, StateSlot};
use crate::history::History;
use crate::journal::Program;
use crate::producers::Producers;
use crate::settings::{Builder, Migration, StateChanges};
use highwater_checkpoint::{
    Checkpoint, Checkpoints, LocalStore, LogBounds, Options, Ownership, StateEntry,
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
    /// Whether `program` must be written into the log.
    pub(crate) program_is_new: bool,
    /// Migrations that each state has gone through, by name.
    pub(crate) migrations: BTreeMap<String, usize>,
    /// How often the program says that a state is dropped, by name.
    pub(crate) dropped: BTreeMap<String, usize>,
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
    pub(crate) fn open(settings: &Builder, plan: &Plan) -> Result<Self> {
        let options = settings
            .log
            .clone()
            .disk(Arc::clone(&settings.disk))
            .clock(Arc::clone(&settings.clock));
        let wal = Arc::new(Wal::open_with(settings.dir.join("log"), options)?);
        let store = LocalStore::new(Arc::clone(&settings.disk), settings.dir.join("checkpoints"));
        // The log's lock is ours, so nobody else writes checkpoints of this directory.
        let options = Options {
            retain: settings.retain,
            ownership: Ownership::Sole,
            ..Options::default()
        };
        let mut checkpoints = Checkpoints::open(Arc::new(store), options)?;
        let bounds = LogBounds {
            log_id: wal.log_id(),
            first_lsn: wal.first_lsn().get(),
            end_lsn: wal.durable_lsn().get(),
        };
        let checkpoint = checkpoints.newest_for(&bounds)?;
        let from = checkpoint
            .as_ref()
            .map_or_else(|| wal.first_lsn(), |c| Lsn::new(c.manifest().lsn));
        let mut history = History::read(&wal, &settings.dir, from)?;
        let at_checkpoint = checkpoint
            .as_ref()
            .map(|c| take_checkpointed_cut(settings, c, &mut history))
            .transpose()?;
        let metadata = checkpoint
            .as_ref()
            .map(|c| read_metadata(settings, c))
            .transpose()?;
        let found = found_program(
            settings,
            &wal,
            checkpoint.as_ref(),
            metadata.as_ref(),
            &history,
        )?;
        let mut program = check_program(settings, found.as_ref())?;
        for source in &plan.sources {
            let _assigned = program.stream(&source.name);
        }
        check_sources(settings, plan, &program, &history)?;
        check_names(plan, &program)?;
        let (migrated, dropped) = metadata
            .map(|m| (m.migrations, m.dropped))
            .unwrap_or_default();
        let state = match &checkpoint {
            Some(checkpoint) => {
                let done = Done {
                    migrated: &migrated,
                    dropped: &dropped,
                };
                restore(plan, &settings.changes, checkpoint, done)?
            }
            None => BTreeMap::new(),
        };
        let producers = checkpoint
            .as_ref()
            .map(|c| restore_producers(c, &program))
            .transpose()?
            .unwrap_or_default();
        let producers_now = merge(&producers, &history);
        let committed = history.committed.max(at_checkpoint.map(|b| b.id));
        let checkpoint = checkpoint
            .zip(at_checkpoint)
            .map(|(c, batch)| (c.manifest().number, batch));
        Ok(Self {
            wal,
            checkpoints,
            checkpoint,
            program_is_new: found.as_ref() != Some(&program),
            program,
            migrations: migrations(plan, &settings.changes, &migrated),
            dropped: settings.changes.drops(),
            state,
            producers,
            producers_now,
            cuts: history.cuts,
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

    /// From where replay starts.
    pub(crate) fn replay_from(&self) -> Lsn {
        self.checkpoint
            .map_or_else(|| self.wal.first_lsn(), |(_, batch)| batch.to)
    }
}

/// A checkpoint's LSN is the LSN of its batch's cut, so that cut is the first entry of the history.
fn take_checkpointed_cut(
    settings: &Builder,
    checkpoint: &Checkpoint,
    history: &mut History,
) -> Result<Batch> {
    let manifest = checkpoint.manifest();
    match history.cuts.first() {
        Some(cut) if cut.id == manifest.batch.id && cut.to.get() == manifest.lsn => {
            Ok(history.cuts.remove(0))
        }
        other => Err(Error::Journal {
            dir: settings.dir.clone(),
            lsn: Lsn::new(manifest.lsn),
            what: format!(
                "checkpoint {} stands at the cut of batch {}, but the log has {}",
                manifest.number,
                manifest.batch.id,
                other.map_or("no cut there".to_owned(), |cut| format!("the cut of {cut}")),
            ),
        }),
    }
}

/// What the engine has written into the checkpoint's manifest.
fn read_metadata(settings: &Builder, checkpoint: &Checkpoint) -> Result<Metadata> {
    let manifest = checkpoint.manifest();
    serde_json::from_value(manifest.metadata.clone()).map_err(|e| Error::Journal {
        dir: settings.dir.clone(),
        lsn: Lsn::new(manifest.lsn),
        what: format!("the metadata of checkpoint {}: {e}", manifest.number),
    })
}

/// The program entry of the directory, if it is not new.
fn found_program(
    settings: &Builder,
    wal: &Wal,
    checkpoint: Option<&Checkpoint>,
    metadata: Option<&Metadata>,
    history: &History,
) -> Result<Option<Program>> {
    if let Some(program) = &history.program {
        return Ok(Some(program.clone()));
    }
    match checkpoint {
        Some(_) => Ok(metadata.map(|m| m.program.clone())),
        None if history.cuts.is_empty() && history.records.is_empty() => Ok(None),
        None => {
            let (dir, first) = (settings.dir.display().to_string(), wal.first_lsn().get());
            Err(Mismatch::NoCheckpoint { dir, first }.into())
        }
    }
}

fn check_program(settings: &Builder, found: Option<&Program>) -> Result<Program> {
    let Some(found) = found else {
        return Ok(Program {
            application: settings.application.clone(),
            key_groups: settings.key_groups,
            sources: BTreeMap::new(),
        });
    };
    if found.application != settings.application {
        let (on_disk, in_code) = (found.application.clone(), settings.application.clone());
        return Err(Mismatch::OtherApplication { on_disk, in_code }.into());
    }
    if found.key_groups != settings.key_groups {
        let (on_disk, in_code) = (found.key_groups, settings.key_groups);
        return Err(Mismatch::KeyGroups { on_disk, in_code }.into());
    }
    Ok(found.clone())
}

fn check_sources(
    settings: &Builder,
    plan: &Plan,
    program: &Program,
    history: &History,
) -> Result<()> {
    for (name, stream) in &program.sources {
        let records = history
            .records
            .get(&StreamId(*stream))
            .copied()
            .unwrap_or(0);
        let in_code = plan.sources.iter().any(|s| s.name == *name);
        if records > 0 && !in_code && !settings.changes.dropped_sources.contains(name) {
            return Err(Mismatch::SourceGone {
                name: name.clone(),
                records,
            }
            .into());
        }
    }
    Ok(())
}

/// Places of states in a checkpoint are by name, and producer tables have the names of their sources.
fn check_names(plan: &Plan, program: &Program) -> Result<()> {
    let taken = |name: &String| program.sources.contains_key(name);
    match plan
        .states
        .iter()
        .map(|s| &s.info.name)
        .find(|name| taken(name))
    {
        Some(name) => Err(Mismatch::NameOfASource { name: name.clone() }.into()),
        None => Ok(()),
    }
}

/// How many migrations each state of the program will have gone through.
fn migrations(
    plan: &Plan,
    changes: &StateChanges,
    on_disk: &BTreeMap<String, usize>,
) -> BTreeMap<String, usize> {
    let states = plan.states.iter().map(|slot| slot.info.name.clone());
    states
        .map(|name| {
            let in_code = changes.migrated.get(&name).map_or(0, Vec::len);
            let done = on_disk.get(&name).copied().unwrap_or(0);
            (name, in_code.max(done))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Which of the changes that the code asks for were made before the checkpoint was taken: how many, by name of the state.
#[derive(Debug, Clone, Copy)]
struct Done<'a> {
    migrated: &'a BTreeMap<String, usize>,
    dropped: &'a BTreeMap<String, usize>,
}

/// Whether the code throws away a state of the checkpoint. Where the program has an operator of that name, a call that
/// was there already when the checkpoint was taken has done its work: what was gathered since is kept.
fn is_dropped(plan: &Plan, changes: &StateChanges, name: &String, done: Done<'_>) -> bool {
    let calls = changes.drops().get(name).copied().unwrap_or(0);
    let has_operator = plan.states.iter().any(|slot| slot.info.name == *name);
    let obeyed = done.dropped.get(name).filter(|_| has_operator);
    calls > obeyed.copied().unwrap_or(0)
}

/// Decodes the state of every operator, after renaming, dropping and migrating what the code says.
fn restore(
    plan: &Plan,
    changes: &StateChanges,
    checkpoint: &Checkpoint,
    done: Done<'_>,
) -> Result<BTreeMap<usize, RestoredState>> {
    let mut restored = BTreeMap::new();
    let mut origins = BTreeMap::new();
    let manifest = checkpoint.manifest();
    let kept = manifest
        .states
        .iter()
        .filter(|s| s.kind != PRODUCERS && !is_dropped(plan, changes, &s.name, done));
    for state in kept.clone() {
        // A rename has done its work once a checkpoint has the new name.
        let renamed = changes.renamed.get(&state.name);
        let name = renamed
            .filter(|new| !kept.clone().any(|s| s.name == **new))
            .unwrap_or(&state.name);
        let Some((index, slot)) = slot_for(plan, state, name, manifest.number)? else {
            continue;
        };
        if let Some(first) = origins.insert(index, state.name.clone()) {
            return Err(Mismatch::TwoStatesForOne {
                first,
                second: state.name.clone(),
                name: name.clone(),
                checkpoint: manifest.number,
            }
            .into());
        }
        let pending = changes.migrated.get(name).map_or(&[][..], Vec::as_slice);
        let pending = pending
            .get(done.migrated.get(&state.name).copied().unwrap_or(0)..)
            .unwrap_or_default();
        restored.insert(index, restore_state(checkpoint, state, slot, pending)?);
    }
    Ok(restored)
}

/// The program's state for one on disk; `None` if there is none and nothing would be lost.
fn slot_for<'a>(
    plan: &'a Plan,
    state: &StateEntry,
    name: &str,
    checkpoint: u64,
) -> Result<Option<(usize, &'a StateSlot)>> {
    let slot = plan
        .states
        .iter()
        .enumerate()
        .find(|(_, slot)| slot.info.name == name);
    match slot {
        None if state.entries == 0 => Ok(None),
        None => Err(Mismatch::StateWithoutOperator {
            name: state.name.clone(),
            entries: state.entries,
            types: state.fingerprint.clone(),
            checkpoint,
        }
        .into()),
        Some((_, slot)) if slot.info.kind != state.kind => Err(Mismatch::OtherKind {
            name: state.name.clone(),
            checkpoint,
            then: state.kind.clone(),
            now: slot.info.kind.to_owned(),
        }
        .into()),
        found => Ok(found),
    }
}

/// Reads, migrates and decodes every key group of a state.
fn restore_state(
    checkpoint: &Checkpoint,
    state: &StateEntry,
    slot: &StateSlot,
    pending: &[Migration],
) -> Result<RestoredState> {
    let mut groups = RestoredState::new();
    for block in &state.blocks {
        let Some(bytes) = checkpoint.read_block(&state.name, block.key_group)? else {
            continue;
        };
        let migrated = pending
            .iter()
            .try_fold(bytes, |bytes, migration| migration(&bytes));
        let decoded = migrated.and_then(|bytes| (slot.decode)(block.key_group, &bytes));
        let decoded = decoded.map_err(|message| Mismatch::Undecodable {
            name: slot.info.name.clone(),
            checkpoint: checkpoint.manifest().number,
            group: block.key_group,
            now: slot.info.types.clone(),
            then: state.fingerprint.clone(),
            message,
        })?;
        groups.insert(block.key_group, decoded);
    }
    Ok(groups)
}

fn restore_producers(
    checkpoint: &Checkpoint,
    program: &Program,
) -> Result<BTreeMap<StreamId, Producers>> {
    let mut tables = BTreeMap::new();
    for state in checkpoint
        .manifest()
        .states
        .iter()
        .filter(|s| s.kind == PRODUCERS)
    {
        let Some(stream) = program.sources.get(&state.name) else {
            continue;
        };
        let Some(bytes) = checkpoint.read_block(&state.name, 0)? else {
            continue;
        };
        let table = Producers::decode(&bytes).map_err(|message| Mismatch::Undecodable {
            name: state.name.clone(),
            checkpoint: checkpoint.manifest().number,
            group: 0,
            now: "producer table".to_owned(),
            then: state.fingerprint.clone(),
            message,
        })?;
        tables.insert(StreamId(*stream), table);
    }
    Ok(tables)
}

/// The tables as of the end of the log: those of the checkpoint and every mark behind it.
fn merge(
    at_checkpoint: &BTreeMap<StreamId, Producers>,
    history: &History,
) -> BTreeMap<StreamId, Producers> {
    let mut now = at_checkpoint.clone();
    for (stream, newer) in &history.producers {
        now.entry(*stream).or_default().absorb(newer);
    }
    now
}
