//! Events of one log.

use super::durable::{Log, World};
use crate::property::{Property, Violation};

type Verdict = Result<(), Violation>;

/// The process has started with this log.
pub(super) fn booted(world: &mut World, process: usize, id: u64, end: u64) -> Verdict {
    if ![0, id].contains(&world.log(process).id) {
        lost(world, process);
    }
    let log = world.log(process);
    log.id = id;
    log.end = log.end.max(end);
    if end < log.acknowledged {
        let why = format!(
            "the log of {process} ends at {end}, acknowledged was {}",
            log.acknowledged
        );
        return Violation::of(Property::NothingIsLost, why);
    }
    Ok(())
}

/// Senders were told that everything before `end` is safe.
pub(super) fn acknowledged(world: &mut World, process: usize, end: u64) {
    let log = world.log(process);
    log.acknowledged = log.acknowledged.max(end);
}

/// The log is durable up to `end`.
pub(super) fn durable(world: &mut World, process: usize, end: u64) {
    let log = world.log(process);
    log.end = log.end.max(end);
}

/// A cut is durable.
pub(super) fn cut(world: &mut World, process: usize, batch: u64, end: u64, last: bool) -> Verdict {
    let log = world.log(process);
    log.end = log.end.max(end);
    log.last = last;
    if let Some(old) = log.cut(batch) {
        let at = (batch - log.base) as usize;
        log.cuts[at] = end;
        let why = format!("process {process} has cut batch {batch} at {old}, and again at {end}");
        return Violation::of(Property::SameCuts, why);
    }
    let before = log.cuts.last().copied();
    log.cuts.push(end);
    if log.last_cut() != batch || before.is_none_or(|before| before > end) {
        let why = format!("process {process} cuts batch {batch} at {end}, behind {before:?}");
        return Violation::of(Property::Order, why);
    }
    Ok(())
}

/// What lies before the cut of `batch` is gone.
pub(super) fn truncated(world: &mut World, process: usize, batch: u64) -> Verdict {
    let log = world.log(process);
    log.truncated = log.truncated.max(batch);
    let needs = world
        .retained()
        .find(|m| m.batch < batch && m.member(process).is_some());
    if needs.is_some() || world.manifests.is_empty() {
        let why =
            format!("the log of {process} is truncated to batch {batch}, {needs:?} needs more");
        return Violation::of(Property::LogIsKept, why);
    }
    Ok(())
}

/// The log is gone.
pub(super) fn lost(world: &mut World, process: usize) {
    let log = world.log(process);
    let (losses, owes) = (log.losses + 1, log.owes.max(log.acknowledged));
    *log = Log {
        losses,
        owes,
        ..Log::default()
    };
}
