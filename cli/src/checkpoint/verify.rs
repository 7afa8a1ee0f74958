//! `highwater checkpoint verify`: every byte, block, key and value.

use crate::args::CheckpointArgs;
use crate::checkpoint::meaning::MessagePack;
use crate::checkpoint::store::{Bounds, Place};
use highwater::checkpoint::{Audit, Audited, Finding, Leftover, LeftoverKind, Manifest, audit};
use highwater::wal::Lsn;
use highwater::wal::inspect::Log;
use highwater_log::outcome::{Outcome, Result};
use highwater_log::output::Output;
use highwater_log::text;
use serde::Serialize;
use std::io::ErrorKind;

/// What is printed.
#[derive(Debug, Serialize)]
struct Verified {
    ok: bool,
    checkpoints: Vec<Row>,
    files: u64,
    blocks: u64,
    bytes: u64,
    leftovers: Vec<Left>,
    /// Why the engine would refuse to start, though nothing is damaged.
    recovery: Option<String>,
}

/// A checkpoint.
#[derive(Debug, Serialize)]
struct Row {
    number: u64,
    states: Option<usize>,
    keys: Option<u64>,
    findings: Vec<Found>,
}

/// What is wrong, and what to do.
#[derive(Debug, Serialize)]
struct Found {
    file: String,
    offset: Option<u64>,
    what: String,
    next: &'static str,
}

/// A file that is left over, and what is known of it.
#[derive(Debug, Serialize)]
struct Left {
    file: String,
    bytes: u64,
    what: &'static str,
}

const RESTORE: &str =
    "restore the file from a copy; without it recovery takes the checkpoint before";
const PAIR: &str = "put back the log and the checkpoints that belong together";

/// Runs the command.
pub(crate) fn verify(args: &CheckpointArgs, out: &mut Output) -> Result<Outcome> {
    let place = Place::find(&args.dir)?;
    let audit = place.look(|store| audit(store, &MessagePack))?;
    // Afterwards: the log of an engine that runs grows meanwhile.
    let log = place.log();
    let recovery = match audit.checkpoints.is_empty() {
        true => place.without_checkpoints(log.as_ref())?,
        false => None,
    };
    let Audit {
        checkpoints,
        leftovers,
        files,
        blocks,
        bytes,
    } = audit;
    let mut rows = Vec::new();
    let manifests = checkpoints.iter().filter_map(|c| c.manifest.as_ref());
    let bounds = log.as_ref().map(|log| Bounds::of(log, manifests));
    for checkpoint in checkpoints {
        let beside = log.as_ref().zip(bounds.as_ref());
        let misfit = match (beside, &checkpoint.manifest) {
            (Some(beside), Some(manifest)) => misfit(&place, beside, manifest)?,
            _ => None,
        };
        rows.push(Row::new(checkpoint, misfit));
    }
    let verified = Verified {
        ok: rows.iter().all(|row| row.findings.is_empty()) && recovery.is_none(),
        checkpoints: rows,
        files,
        blocks,
        bytes,
        leftovers: leftovers.into_iter().map(Left::new).collect(),
        recovery,
    };
    out.show(args.json, &verified, print)?;
    Ok(Outcome::clean_if(verified.ok))
}

fn manifest_name(number: u64) -> String {
    format!("manifest-{number:010}.json")
}

/// Why a checkpoint does not go with the log, unless it was retired since it was read.
fn misfit(
    place: &Place,
    (log, bounds): (&Log, &Bounds),
    manifest: &Manifest,
) -> Result<Option<Finding>> {
    let name = manifest_name(manifest.number);
    if bounds.is_predecessors(manifest) {
        return Ok(None);
    }
    let what = bounds.misfit(manifest);
    let what = what.or_else(|| past_the_end(log, manifest.lsn));
    let Some(what) = what else {
        return Ok(None);
    };
    match place.store.len(&name) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        _ => Ok(Some(Finding {
            file: name,
            offset: None,
            what: format!("the checkpoint {what}"),
        })),
    }
}

fn past_the_end(log: &Log, lsn: u64) -> Option<String> {
    // What is wrong with the log itself is told by `log verify`.
    let end = log.frames(Lsn::ZERO).ok()?.log_end().get();
    (lsn > end).then(|| {
        format!("continues at LSN {lsn}, but the log next to it ends, or is damaged, at LSN {end}")
    })
}

impl Row {
    fn new(checkpoint: Audited, misfit: Option<Finding>) -> Self {
        let manifest = checkpoint.manifest.as_ref();
        let found = |next| {
            move |finding: Finding| Found {
                file: finding.file,
                offset: finding.offset,
                what: finding.what,
                next,
            }
        };
        let findings = checkpoint.findings.into_iter().map(found(RESTORE));
        Self {
            number: checkpoint.number,
            states: manifest.map(|m| m.states.len()),
            keys: manifest.map(|m| m.states.iter().map(|s| s.entries).sum()),
            findings: findings
                .chain(misfit.into_iter().map(found(PAIR)))
                .collect(),
        }
    }
}

impl Left {
    fn new(leftover: Leftover) -> Self {
        let what = match leftover.kind {
            LeftoverKind::Temporary => {
                "being written, or left by a crash; the next start removes it"
            }
            LeftoverKind::Unpublished => {
                "of a checkpoint that is being written, or was not finished; the next start removes it"
            }
            LeftoverKind::Unnamed => "no manifest names it; the next start removes it",
            LeftoverKind::PerhapsNamed => "a manifest that cannot be read may name it: keep it",
        };
        Self {
            file: leftover.file,
            bytes: leftover.size,
            what,
        }
    }
}

fn print(verified: &Verified, out: &mut Output) -> Result<()> {
    for row in &verified.checkpoints {
        for Found {
            file,
            offset,
            what,
            next,
        } in &row.findings
        {
            let at = offset.map(|at| format!(" at byte {at}"));
            out.line(format!("checkpoint {}", row.number))?;
            out.line(format!("  file    {file}{}", at.unwrap_or_default()))?;
            out.line(format!("  what    {}", text::printable(what)))?;
            out.line(format!("  next    {next}\n"))?;
        }
    }
    for Left { file, bytes, what } in &verified.leftovers {
        let (file, bytes) = (text::printable(file), text::bytes(*bytes));
        out.line(format!("left over: {file} ({bytes}): {what}"))?;
    }
    if let Some(refusal) = &verified.recovery {
        out.line(format!("recovery: {refusal}"))?;
    }
    out.line(format!(
        "{}: {} checkpoints, {} blocks in {} files, {} read",
        if verified.ok { "ok" } else { "DAMAGED" },
        verified.checkpoints.len(),
        text::grouped(verified.blocks),
        text::grouped(verified.files),
        text::bytes(verified.bytes),
    ))
}
