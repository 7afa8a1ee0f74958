//! The order of steps: what a trace is held against besides the invariants.
//!
//! The model's steps keep this order by themselves. A program has to show it.

use crate::event::{Event, What};
use crate::property::{Property, Violation};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// What has to be remembered of a trace for it.
#[derive(Default)]
pub(crate) struct Order {
    /// The generation each process takes part in; several while an old incarnation still runs.
    joined: BTreeSet<(usize, u64)>,
    /// Up to which batch a process has fed, staged and saved in a generation.
    fed: BTreeMap<(usize, u64), u64>,
    staged: BTreeMap<(usize, u64), u64>,
}

type Verdict = Result<(), Violation>;

impl Order {
    /// Judges an event by what was before it.
    pub(crate) fn judge(&mut self, world: &World, event: &Event) -> Verdict {
        let (process, generation) = (event.process, event.generation);
        let key = (process, generation);
        match &event.what {
            What::Acknowledged { .. } => may_acknowledge(world, process)?,
            What::Joined { restored } => {
                may_join(world, process)?;
                self.joined.insert(key);
                self.fed.insert(key, *restored);
            }
            What::Cut { .. } | What::Saved { .. } => self.takes_part(event)?,
            What::Fed { batch, .. } => {
                self.takes_part(event)?;
                let cut = |p: usize| {
                    world
                        .logs
                        .get(p)
                        .is_some_and(|log| log.last_cut() >= *batch)
                };
                all(world, event, "has not cut the batch", cut)?;
                self.fed.insert(key, *batch);
            }
            What::Staged { batch, .. } => {
                self.takes_part(event)?;
                let fed = |p: usize| self.fed.get(&(p, generation)).is_some_and(|b| b >= batch);
                all(world, event, "has not fed the batch", fed)?;
                self.staged.insert(key, *batch);
            }
            What::Committed { batch } => {
                self.leads(event)?;
                let staged = |p: usize| {
                    self.staged
                        .get(&(p, generation))
                        .is_some_and(|b| b >= batch)
                };
                all(world, event, "has not staged the batch", staged)?;
                let next = world.logs.first().map_or(0, |log| log.committed) + 1;
                if *batch != next {
                    return broken(event, &format!("the next batch is {next}"));
                }
            }
            What::Published { .. } | What::Truncated { .. } => self.takes_part(event)?,
            What::Checkpointed(_) | What::Retired { .. } => self.leads(event)?,
            What::Left | What::Crashed | What::Done => {
                self.joined.remove(&key);
            }
            What::Booted { .. } | What::Durable { .. } | What::Started(_) => {}
            What::LogLost | What::Refused { .. } => {}
        }
        Ok(())
    }

    fn takes_part(&self, event: &Event) -> Verdict {
        if self.joined.contains(&(event.process, event.generation)) {
            return Ok(());
        }
        broken(event, "the process takes no part in the generation")
    }

    fn leads(&self, event: &Event) -> Verdict {
        if event.process != 0 {
            return broken(event, "only process 0 does this");
        }
        Ok(())
    }
}

/// Senders are told only when a manifest names the log, and not behind a last cut.
fn may_acknowledge(world: &World, process: usize) -> Verdict {
    let log = world.logs.get(process);
    let Some(log) = log.filter(|log| log.named) else {
        let why =
            format!("process {process} acknowledges, no manifest that it knows names its log");
        return Violation::of(Property::Order, why);
    };
    let end = log.cuts.last().copied().unwrap_or(0);
    if log.last && log.end > end {
        let why = format!("process {process} acknowledges behind its last cut");
        return Violation::of(Property::Order, why);
    }
    Ok(())
}

/// A process takes part with the log that the newest manifest names.
fn may_join(world: &World, process: usize) -> Verdict {
    let named = world
        .newest()
        .and_then(|m| m.member(process))
        .map(|m| m.log);
    let log = world.logs.get(process).map(|log| log.id);
    if named.is_none() || named != log {
        let why = format!("process {process} joins with log {log:?}, named is {named:?}");
        return Violation::of(Property::Order, why);
    }
    Ok(())
}

/// All who take part have come as far as an event needs.
fn all(world: &World, event: &Event, what: &str, has: impl Fn(usize) -> bool) -> Verdict {
    let members = world
        .manifests
        .iter()
        .rev()
        .find(|m| m.generation == event.generation);
    let members = members
        .or(world.newest())
        .into_iter()
        .flat_map(|m| &m.members);
    match members.map(|m| m.process).find(|p| !has(*p)) {
        Some(process) => broken(event, &format!("process {process} {what}")),
        None => Ok(()),
    }
}

fn broken(event: &Event, why: &str) -> Verdict {
    Violation::of(Property::Order, format!("{event:?}: {why}"))
}
