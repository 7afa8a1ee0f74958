//! Recovery of the states: which state of the checkpoint belongs to which operator of the program,
//! and its entries.

use crate::checkpointing::capture::Whole;
use crate::checkpointing::metadata::{Metadata, PRODUCERS};
use crate::datasets::slot::DATASET;
use crate::engine_log::program::HashSeed;
use crate::error::{Error, Result};
use crate::mismatch::Mismatch;
use crate::panics;
use crate::plan::changes::Changes;
use crate::plan::program::{Plan, StateInfo};
use crate::plan::refused_counts::REFUSED;
use crate::recovery::load::{Loading, load};
use crate::state::key_group::{GroupsOnDisk, KeyGroups};
use crate::state::restore::{Regroup, Restored};
use crate::state::table::block::RestoredState;
use highwater_checkpoint::{Checkpoint, Checkpoints, StateEntry};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
/// for. Key groups are decoded by `threads` threads.
pub(crate) fn restore(
    plan: &Plan,
    changes: &Changes,
    checkpoint: &Checkpoint,
    done: &Metadata,
    key_groups: KeyGroups,
    threads: usize,
) -> Result<BTreeMap<usize, Restored>> {
    let seed = done.program.hash_seed.map(|HashSeed(seed)| seed);
    let groups = Regroup {
        from: GroupsOnDisk::new(done.program.key_groups, seed),
        to: key_groups,
        time_ms: checkpoint.manifest().batch.time_ms,
    };
    let mut loading = Vec::new();
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
        check_panes(plan, state, name, done, manifest.number)?;
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
        loading.push(Loading {
            index,
            slot,
            state,
            pending,
            restore: slot.types.restore(groups),
        });
    }
    load(loading, checkpoint, threads)
}

/// Gives the states that are new in the directory what they begin with; how many keys that is, by
/// state.
pub(crate) fn begin(
    plan: &Plan,
    groups: KeyGroups,
    states: &mut BTreeMap<usize, RestoredState>,
) -> Result<Vec<(usize, u64)>> {
    let mut began = Vec::new();
    for (index, info) in plan.states.iter().enumerate() {
        if states.contains_key(&index) {
            continue; // it was created before, and has become what it is
        }
        let initial = panics::catch(|| info.types.initial(groups));
        let initial = initial.map_err(|message| Error::State {
            name: info.name.clone(),
            operator: info.kind.to_owned(),
            message,
        })?;
        if let Some(initial) = initial {
            began.push((index, initial.keys));
            states.insert(index, initial.groups);
        }
    }
    Ok(began)
}

/// The states that the checkpoint does not have as the program writes them.
pub(crate) fn whole(
    plan: &Plan,
    checkpoints: &Checkpoints,
    parent: Option<u64>,
    state: &BTreeMap<usize, Restored>,
) -> Whole {
    if !parent.is_some_and(|parent| checkpoints.can_continue(parent)) {
        return Whole::All;
    }
    let as_is = |index: &usize| state.get(index).is_some_and(|found| !found.write_anew);
    let others = (0..plan.states.len()).filter(|index| !as_is(index));
    Whole::These(Arc::new(others.collect()))
}

/// Refuses a window in which the panes of the checkpoint do not fit: one of its windows would begin
/// or end inside of such a pane.
fn check_panes(
    plan: &Plan,
    state: &StateEntry,
    name: &str,
    done: &Metadata,
    checkpoint: u64,
) -> Result<()> {
    let (then, now) = (done.panes.get(&state.name), plan.panes.get(name));
    match (then, now) {
        (Some(then), Some(now)) if state.entries > 0 && !now.is_multiple_of(*then) => {
            Err(Mismatch::Panes {
                name: name.to_owned(),
                checkpoint,
                then: Duration::from_millis(*then),
                now: Duration::from_millis(*now),
            }
            .into())
        }
        _ => Ok(()),
    }
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
        None if state.entries == 0 || [DATASET, REFUSED].contains(&state.kind.as_str()) => Ok(None),
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
