//! Events of the store: manifests in one sequence, and state files.

use super::durable::World;
use crate::event::Manifest;
use crate::property::{Property, Violation};

type Verdict = Result<(), Violation>;

/// A process's state at the end of a batch is in the store.
pub(super) fn saved(
    world: &mut World,
    process: usize,
    generation: u64,
    batch: u64,
    counted: &[u64],
) {
    world
        .files
        .insert((generation, batch, process), counted.to_vec());
}

/// A manifest that begins a generation.
pub(super) fn started(world: &mut World, new: &Manifest) -> Verdict {
    if is_garbage(world, new) {
        return Ok(());
    }
    let verdict = next(world, new).and_then(|()| may_start(world, new));
    world.manifests.push(new.clone());
    collect(world);
    verdict
}

/// A manifest of a new checkpoint.
pub(super) fn checkpointed(world: &mut World, new: &Manifest) -> Verdict {
    if is_garbage(world, new) {
        return Ok(());
    }
    let verdict = next(world, new).and_then(|()| is_complete(world, new));
    world.manifests.push(new.clone());
    verdict
}

/// The manifests below a number are gone.
pub(super) fn retired(world: &mut World, below: u64) -> Verdict {
    let newest = world.newest().map_or(0, |m| m.number);
    world.manifests.retain(|m| m.number >= below.min(newest));
    collect(world);
    if below > newest {
        return Violation::of(Property::LogIsKept, "no manifest is left");
    }
    Ok(())
}

/// It has come into the place of one that was removed, and no reader counts it.
fn is_garbage(world: &World, new: &Manifest) -> bool {
    world.newest().is_some_and(|m| new.number < m.oldest)
}

/// Numbers ascend by one, and no older generation writes after a newer one.
fn next(world: &World, new: &Manifest) -> Verdict {
    let (number, generation) = world.newest().map_or((0, 0), |m| (m.number, m.generation));
    if new.number != number + 1 || new.generation < generation {
        let why = format!(
            "generation {} writes manifest {} behind manifest {number} of generation {generation}",
            new.generation, new.number
        );
        return Violation::of(Property::OneGenerationCommits, why);
    }
    Ok(())
}

/// A start keeps the checkpoint, and takes no log in which something is missing.
fn may_start(world: &World, new: &Manifest) -> Verdict {
    let old = world.newest();
    let (batch, files, generation) = old.map_or((0, 0, 0), |m| (m.batch, m.files, m.generation));
    if generation == new.generation {
        return Violation::of(Property::OneGenerationCommits, "a generation begins twice");
    }
    if (new.batch, new.files) != (batch, files) {
        return Violation::of(
            Property::StateFilesAreThere,
            "a start with another checkpoint",
        );
    }
    let leaving = old
        .iter()
        .flat_map(|m| &m.members)
        .filter(|m| new.member(m.process).is_none());
    for member in leaving {
        let log = world.logs.get(member.process);
        let left = log.is_some_and(|log| log.owes.max(log.acknowledged) > member.position);
        if left || world.committed > batch {
            let why = format!("process {} leaves, and its log is not done", member.process);
            return Violation::of(Property::NothingIsLost, why);
        }
    }
    Ok(())
}

/// What a checkpoint names is committed, published by all, and in the store.
fn is_complete(world: &World, new: &Manifest) -> Verdict {
    let old = world.newest().map_or(0, |m| m.batch);
    for member in &new.members {
        let process = member.process;
        let published = |b| {
            world
                .parts
                .get(&(process, b))
                .is_some_and(|part| part.published)
        };
        if let Some(b) = (old + 1..=new.batch).find(|b| *b > world.committed || !published(*b)) {
            let why = format!(
                "manifest {} names batch {b}, not published by {process}",
                new.number
            );
            return Violation::of(Property::ManifestIsPublished, why);
        }
        let end = world.inputs.get(&(new.batch, process)).map(|range| range.1);
        let file = world.files.get(&(new.files, new.batch, process));
        let positions = |file: &Vec<u64>| {
            let at = |m: &crate::event::Member| file.get(m.process).copied();
            file.is_empty() || new.members.iter().all(|m| at(m) == Some(m.position))
        };
        if end != Some(member.position) || !file.is_some_and(positions) {
            let why = format!(
                "manifest {}, process {process}: {file:?}, cut at {end:?}",
                new.number
            );
            return Violation::of(Property::StateFilesAreThere, why);
        }
    }
    Ok(())
}

/// Files of older generations that no manifest names are garbage.
fn collect(world: &mut World) {
    let newest = world.newest().map_or(0, |m| m.generation);
    let named: Vec<(u64, u64)> = world.retained().map(|m| (m.files, m.batch)).collect();
    world.files.retain(|(generation, batch, _), _| {
        *generation >= newest || named.contains(&(*generation, *batch))
    });
}
