//! Events of batches.

use super::durable::{Part, World};
use crate::property::{Property, Violation};

type Verdict = Result<(), Violation>;

/// The process takes part in a generation, with the state of batch `restored`.
pub(super) fn joined(world: &mut World, process: usize, generation: u64, restored: u64) -> Verdict {
    world.counted.insert((process, generation), restored);
    let Some(manifest) = world.newest().filter(|m| m.generation == generation) else {
        let why = format!("{process} joins generation {generation}, which is not the newest");
        return Violation::of(Property::OneGenerationCommits, why);
    };
    let (batch, position) = (
        manifest.batch,
        manifest.member(process).map_or(0, |m| m.position),
    );
    let log = world.log(process);
    (log.named, log.last) = (true, false);
    if log.cuts.is_empty() {
        (log.base, log.cuts) = (batch, vec![position]);
    }
    if log.owes > position {
        let why = format!("process {process} joins, its log has lost what was acknowledged");
        return Violation::of(Property::NothingIsLost, why);
    }
    Ok(())
}

/// The process has handed its range of a batch to the exchange.
pub(super) fn fed(
    world: &mut World,
    process: usize,
    generation: u64,
    batch: u64,
    range: (u64, u64),
) -> Verdict {
    let before = world.counted.insert((process, generation), batch);
    let first = *world.inputs.entry((batch, process)).or_insert(range);
    let previous = world.inputs.get(&(batch - 1, process)).map(|range| range.1);
    let truncated = world.log(process).truncated;
    let what = format!("process {process}, batch {batch}, range {range:?}");
    if first != range {
        return Violation::of(Property::SameCuts, format!("{what}, once {first:?}"));
    }
    if batch <= truncated {
        return Violation::of(
            Property::LogIsKept,
            format!("{what}, truncated to {truncated}"),
        );
    }
    if before.is_some_and(|before| before >= batch) || previous.is_some_and(|end| end > range.0) {
        let why = format!("{what}, the state is at {before:?}, of the log {previous:?}");
        return Violation::of(Property::NothingIsCountedTwice, why);
    }
    if before != Some(batch - 1) || previous.is_some_and(|end| end < range.0) {
        let why = format!("{what}, the state is at {before:?}, of the log {previous:?}");
        return Violation::of(Property::NothingIsLost, why);
    }
    Ok(())
}

/// The process's output of a batch is durable.
pub(super) fn staged(
    world: &mut World,
    process: usize,
    batch: u64,
    digest: u64,
    counted: &[u64],
) -> Verdict {
    let new = Part {
        digest,
        published: false,
    };
    let part = *world.parts.entry((process, batch)).or_insert(new);
    if part.digest != digest {
        let why = format!("process {process}, batch {batch}: two outputs");
        return Violation::of(Property::PartsAreTheSame, why);
    }
    for (log, counted) in counted.iter().enumerate() {
        let Some((from, _)) = world.inputs.get(&(batch, log)) else {
            continue;
        };
        let why = format!(
            "the state of {process} before batch {batch} has counted log {log} to {counted}, not {from}"
        );
        if counted > from {
            return Violation::of(Property::NothingIsCountedTwice, why);
        }
        if counted < from {
            return Violation::of(Property::NothingIsLost, why);
        }
    }
    Ok(())
}

/// It is durable that a batch will be published.
pub(super) fn committed(world: &mut World, process: usize, generation: u64, batch: u64) -> Verdict {
    world.committed = world.committed.max(batch);
    world.log(process).committed = batch;
    let Some(newest) = world.newest() else {
        return Violation::of(Property::Order, "a commit before the first manifest");
    };
    if newest.generation > generation {
        let why = format!(
            "{generation} commits batch {batch}, {} has begun",
            newest.generation
        );
        return Violation::of(Property::OneGenerationCommits, why);
    }
    for member in &newest.members {
        if !world.parts.contains_key(&(member.process, batch)) {
            let why = format!("batch {batch} without the part of {}", member.process);
            return Violation::of(Property::CommittedIsStaged, why);
        }
    }
    Ok(())
}

/// The process's output of a batch is visible.
pub(super) fn published(world: &mut World, process: usize, batch: u64, digest: u64) -> Verdict {
    let committed = world.committed;
    let part = world.parts.get_mut(&(process, batch));
    let staged = part.as_ref().map(|part| part.digest);
    if let Some(part) = part {
        part.published = true;
    }
    if batch > committed {
        let why = format!("process {process}, batch {batch}, committed is {committed}");
        return Violation::of(Property::PublishedIsCommitted, why);
    }
    if staged != Some(digest) {
        let why = format!("process {process}, batch {batch}: published is not what was staged");
        return Violation::of(Property::PartsAreTheSame, why);
    }
    Ok(())
}

/// The process is no longer part of a generation.
pub(super) fn gone(world: &mut World, process: usize, generation: u64) {
    world.counted.remove(&(process, generation));
}
