//! `highwater checkpoint prune`.

use crate::args::PruneArgs;
use crate::checkpoint::new_store::new_store;
use crate::checkpoint::store::Found;
use crate::fail::OrFail;
use crate::message::tell;
use highwater::checkpoint::{Pruning, Store, StoredFile, Validity, copy_checkpoints};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;
use highwater_log::text;
use serde::Serialize;

/// What is printed.
#[derive(Debug, Serialize)]
struct Pruned {
    kept: Vec<u64>,
    not_kept: Vec<u64>,
    needed: Vec<File>,
    needed_bytes: u64,
    not_needed: Vec<File>,
    not_needed_bytes: u64,
    /// Where the kept ones were written.
    output: Option<String>,
}

#[derive(Debug, Serialize)]
struct File {
    name: String,
    bytes: u64,
}

fn files(files: &[StoredFile]) -> (Vec<File>, u64) {
    let all = files.iter().map(|file| File {
        name: file.name.clone(),
        bytes: file.size,
    });
    (all.collect(), files.iter().map(|file| file.size).sum())
}

/// Runs the command.
pub(crate) fn prune(args: &PruneArgs, out: &mut Output) -> Result<Outcome> {
    let found = Found::read(&args.checkpoints.dir)?;
    let to = args.output.as_ref();
    let to = to.map(|dir| new_store(dir, &found.place)).transpose()?;
    for checkpoint in &found.checkpoints {
        if let Validity::NewerFormat(reason) = &checkpoint.validity {
            return Err(Failure::Finding(reason.clone()));
        }
    }
    let store = &found.place.store;
    let keep = usize::try_from(args.keep).unwrap_or(usize::MAX);
    let pruning = Pruning::of(&**store, &found.checkpoints, keep).or_fail()?;
    if pruning.kept.is_empty() {
        let what = found.uncovered.clone();
        let what = what.unwrap_or_else(|| "there is no valid checkpoint to keep".to_owned());
        return Err(Failure::Finding(what));
    }
    for checkpoint in &found.checkpoints {
        let kept = pruning.kept.contains(&checkpoint.number);
        if let Some(problem) = found.problem(checkpoint).filter(|_| kept) {
            tell(format!("checkpoint {}: {problem}", checkpoint.number));
        }
    }
    if let Some(to) = &to {
        copy_checkpoints(&**store, &pruning.kept, to).or_fail()?;
    }
    let (needed, needed_bytes) = files(&pruning.needed);
    let (not_needed, not_needed_bytes) = files(&pruning.unneeded);
    let pruned = Pruned {
        kept: pruning.kept,
        not_kept: pruning.others,
        needed,
        needed_bytes,
        not_needed,
        not_needed_bytes,
        output: to.as_ref().map(Store::place),
    };
    out.show(args.checkpoints.json, &pruned, print)?;
    Ok(Outcome::Clean)
}

fn print(pruned: &Pruned, out: &mut Output) -> Result<()> {
    let amount = |files: &[File], bytes| {
        let (files, bytes) = (text::grouped(files.len() as u64), text::bytes(bytes));
        format!("{files} files, {bytes}")
    };
    let (kept, not_kept) = (text::numbers(&pruned.kept), text::numbers(&pruned.not_kept));
    let needed = amount(&pruned.needed, pruned.needed_bytes);
    let not_needed = amount(&pruned.not_needed, pruned.not_needed_bytes);
    out.line(format!("kept        checkpoints {kept}: {needed}"))?;
    out.line(format!("not needed  checkpoints {not_kept}: {not_needed}"))?;
    for file in &pruned.not_needed {
        let name = text::printable(&file.name);
        out.line(format!("  {name}  {}", text::bytes(file.bytes)))?;
    }
    match &pruned.output {
        Some(place) => out.line(format!("written     {place}")),
        None => Ok(()),
    }
}
