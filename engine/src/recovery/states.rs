//! Recovery of the states: which state of the checkpoint belongs to which operator of the program,
//! and its entries.

use crate::checkpointing::metadata::{Metadata, PRODUCERS};
use crate::engine_log::program::HashSeed;
use crate::error::Result;
use crate::mismatch::Mismatch;
use crate::panics;
use crate::plan::changes::{Changes, Migration};
use crate::plan::program::{Plan, StateInfo};
use crate::state::key_group::{GroupsOnDisk, KeyGroups};
use crate::state::restore::{Regroup, Restore, RestoreError, Restored};
use highwater_checkpoint::{BlockEntry, Checkpoint, StateEntry};
use std::collections::BTreeMap;

/// How many migrations each state of the program will have gone through.
pub(crate) fn migrations(
    plan: &Plan,
    changes: &Changes,
    on_disk: &BTreeMap<String, usize>,
) -> BTreeMap<String, usize> {
    let states = plan.states.iter().map(|slot| slot.name.clone());
    states
        .map(|name| {
            let in_code = changes.migrations(&name).len();
            let done = on_disk.get(&name).copied().unwrap_or(0);
            (name, in_code.max(done))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Whether the code throws away a state of the checkpoint. If the program has an operator of that
/// name, a call is applied once: if it was there when the checkpoint was taken, the state was
/// gathered since, and is kept.
fn is_dropped(plan: &Plan, changes: &Changes, name: &str, done: &Metadata) -> bool {
    let has_operator = plan.states.iter().any(|slot| slot.name == name);
    // A name that was renamed since is that of another state than the one that was dropped.
    let in_use = has_operator || changes.target(name).is_some();
    let obeyed = done.dropped.get(name).filter(|_| in_use);
    changes.drops_of(name) > obeyed.copied().unwrap_or(0)
}

/// Decodes the state of every operator, after renaming, dropping and migrating what the code asks
/// for.
pub(crate) fn restore(
    plan: &Plan,
    changes: &Changes,
    checkpoint: &Checkpoint,
    done: &Metadata,
    key_groups: KeyGroups,
) -> Result<BTreeMap<usize, Restored>> {
    let seed = done.program.hash_seed.map(|HashSeed(seed)| seed);
    let groups = Regroup {
        from: GroupsOnDisk::new(done.program.key_groups, seed),
        to: key_groups,
    };
    let mut restored = BTreeMap::new();
    let mut origins = BTreeMap::new();
    let manifest = checkpoint.manifest();
    let kept = manifest
        .states
        .iter()
        .filter(|s| s.kind != PRODUCERS && !is_dropped(plan, changes, &s.name, done));
    for state in kept.clone() {
        // A rename has done its work once a checkpoint has the new name.
        let has_operator = |name: &str| plan.states.iter().any(|slot| slot.name == name);
        let mut name = changes.current_name(&state.name, |new| kept.clone().any(|s| s.name == new));
        if has_operator(&state.name) && !has_operator(name) {
            name = &state.name; // a rename of long ago: its state is gone, and this is another one
        }
        let Some((index, slot)) = slot_for(plan, state, name, manifest.number)? else {
            continue;
        };
        if let Some(first) = origins.insert(index, state.name.clone()) {
            return Err(Mismatch::TwoStatesForOne {
                first,
                second: state.name.clone(),
                name: name.to_owned(),
                checkpoint: manifest.number,
            }
            .into());
        }
        let before = done.migrations.get(&state.name).copied().unwrap_or(0);
        let conversions = changes.migrations(name);
        let Some(pending) = conversions.get(before..) else {
            return Err(Mismatch::ConversionsGone {
                name: name.to_owned(),
                call: "migrate_state",
                remedy: "drop_state",
                in_code: conversions.len(),
                done: before,
            }
            .into());
        };
        restored.insert(
            index,
            restore_state(groups, checkpoint, state, slot, pending)?,
        );
    }
    Ok(restored)
}

/// The program's state for one on disk; `None` if there is none and nothing would be lost.
fn slot_for<'a>(
    plan: &'a Plan,
    state: &StateEntry,
    name: &str,
    checkpoint: u64,
) -> Result<Option<(usize, &'a StateInfo)>> {
    let slot = plan
        .states
        .iter()
        .enumerate()
        .find(|(_, slot)| slot.name == name);
    match slot {
        None if state.entries == 0 => Ok(None),
        None => Err(Mismatch::StateWithoutOperator {
            name: state.name.clone(),
            entries: state.entries,
            types: state.fingerprint.clone(),
            checkpoint,
        }
        .into()),
        Some((_, slot)) if slot.kind != state.kind => Err(Mismatch::OtherKind {
            name: state.name.clone(),
            checkpoint,
            then: state.kind.clone(),
            now: slot.kind.to_owned(),
        }
        .into()),
        found => Ok(found),
    }
}

/// Reads, migrates and decodes every key group of a state; each key goes to the group to which it
/// belongs now.
fn restore_state(
    groups: Regroup,
    checkpoint: &Checkpoint,
    state: &StateEntry,
    slot: &StateInfo,
    pending: &[Migration],
) -> Result<Restored> {
    let mut restoring = slot.types.restore(groups);
    for block in &state.blocks {
        let Some(bytes) = checkpoint.read_block(&state.name, block.key_group)? else {
            continue;
        };
        let found = restore_block(&mut *restoring, block, bytes, pending)
            .map_err(|error| mismatch(error, checkpoint, state, slot, block))?;
        if found != block.entries {
            return Err(Mismatch::Entries {
                name: slot.name.clone(),
                checkpoint: checkpoint.manifest().number,
                group: block.key_group,
                expected: block.entries,
                found,
            }
            .into());
        }
    }
    let restored = restoring.finish();
    report(slot, state, &restored);
    Ok(restored)
}

fn restore_block(
    restoring: &mut dyn Restore,
    block: &BlockEntry,
    bytes: Vec<u8>,
    pending: &[Migration],
) -> Result<u64, RestoreError> {
    let migrate = || {
        let mut pending = pending.iter();
        pending.try_fold(bytes, |bytes, migration| migration(&bytes))
    };
    let migrated = panics::catch(migrate).map_err(RestoreError::Undecodable)?;
    restoring.add(block.key_group, &migrated)
}

fn mismatch(
    error: RestoreError,
    checkpoint: &Checkpoint,
    state: &StateEntry,
    slot: &StateInfo,
    block: &BlockEntry,
) -> Mismatch {
    let (name, now, then) = (
        slot.name.clone(),
        slot.type_names.clone(),
        state.fingerprint.clone(),
    );
    let checkpoint = checkpoint.manifest().number;
    match error {
        RestoreError::Undecodable(message) => Mismatch::Undecodable {
            name,
            checkpoint,
            group: block.key_group,
            now,
            then,
            message,
        },
        RestoreError::SameKey(key) => Mismatch::SameKey {
            name,
            checkpoint,
            key,
            now,
            then,
        },
    }
}

/// Logs what a change of the types did to the state: it is allowed, but must not go unnoticed.
fn report(slot: &StateInfo, state: &StateEntry, restored: &Restored) {
    let (name, then, now) = (&slot.name, &state.fingerprint, &slot.type_names);
    if restored.moved > 0 {
        let (moved, keys) = (restored.moved, restored.keys);
        tracing::warn!(
            state = name,
            moved,
            keys,
            %then,
            %now,
            "keys of a changed type were moved to the key groups to which they belong now"
        );
    }
    if !restored.ignored.is_empty() {
        let fields: Vec<&String> = restored.ignored.iter().collect();
        tracing::warn!(
            state = name,
            ?fields,
            %then,
            %now,
            "the program's types do not have these fields of the checkpoint: what they hold is left out of the state. If one was \
             renamed, add #[serde(alias = \"old name\")]"
        );
    }
}
