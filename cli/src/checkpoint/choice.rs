//! The checkpoint and the state that a command is about.

use crate::checkpoint::store::Found;
use crate::message::tell;
use highwater::checkpoint::{Manifest, StateEntry};
use highwater_log::outcome::{Failure, Result};

/// The checkpoint that a command is about.
pub(crate) struct Chosen<'a> {
    pub(crate) manifest: &'a Manifest,
    /// Why it is not usable; it was told.
    pub(crate) problem: Option<String>,
}

/// The checkpoint `number`, or the one that recovery would take.
pub(crate) fn choose(found: &Found, number: Option<u64>) -> Result<Chosen<'_>> {
    let wanted = number.or_else(|| found.recovered_from().map(|m| m.number));
    let Some(wanted) = wanted else {
        if let Some(problem) = &found.uncovered {
            return Err(Failure::Finding(problem.clone()));
        }
        if found.checkpoints.is_empty() {
            return Err(Failure::Usage("there are no checkpoints".to_owned()));
        }
        let what = "recovery could not take any of the checkpoints; choose one with --number";
        return Err(Failure::Finding(format!("{what} ({})", numbers(found))));
    };
    let chosen = found.checkpoints.iter().find(|c| c.number == wanted);
    let chosen = chosen.ok_or_else(|| {
        let place = found.place.store.place();
        let numbers = numbers(found);
        Failure::Usage(format!(
            "there is no checkpoint {wanted} in {place} ({numbers})"
        ))
    })?;
    let problem = found.problem(chosen);
    let told = problem
        .as_ref()
        .map(|problem| format!("checkpoint {wanted} is not usable: {problem}"));
    match (&chosen.manifest, told) {
        (Some(manifest), told) => {
            told.iter().for_each(tell);
            Ok(Chosen { manifest, problem })
        }
        (None, told) => Err(Failure::Finding(told.unwrap_or_default())),
    }
}

fn numbers(found: &Found) -> String {
    let numbers: Vec<String> = found
        .checkpoints
        .iter()
        .map(|c| c.number.to_string())
        .collect();
    match numbers.is_empty() {
        true => "there are none".to_owned(),
        false => format!("there are: {}", numbers.join(", ")),
    }
}

/// The state `name` of a checkpoint.
pub(super) fn choose_state<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a StateEntry> {
    manifest.state(name).ok_or_else(|| {
        let names: Vec<&str> = manifest.states.iter().map(|s| s.name.as_str()).collect();
        Failure::Usage(format!(
            "checkpoint {} has no state \"{name}\" (it has: {})",
            manifest.number,
            names.join(", ")
        ))
    })
}
