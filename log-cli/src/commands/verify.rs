//! `highwater-log verify`: every byte.

use crate::args::LogArgs;
use crate::commands::damage::FoundDamage;
use crate::commands::extent::{Cost, Holes};
use crate::commands::open::{note, open, uncovered};
use crate::commands::progress::Progress;
use crate::outcome::{Outcome, Result};
use crate::output::Output;
use crate::program::Program;
use crate::text;
use highwater_wal::Lsn;
use highwater_wal::inspect::{Log, Report};
use serde::Serialize;
use std::path::Path;

/// What is printed.
#[derive(Debug, Serialize)]
struct Verified {
    ok: bool,
    frames: u64,
    records: u64,
    bytes: u64,
    tail: Option<String>,
    end_lsn: Option<u64>,
    proven_lsn: Option<u64>,
    findings: Vec<FoundDamage>,
    /// Names in the directory that are not the log's.
    ignored: Vec<String>,
    /// Why the engine would refuse to start, though the log is sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<String>,
    /// What repair would keep and lose; only if something is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<Cost>,
    /// What to do, the best first; only if something is damaged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    next: Vec<String>,
    /// What cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl Verified {
    fn new(report: &Report, recovery: Option<String>) -> Self {
        Self {
            ok: report.is_ok(),
            frames: report.frames,
            records: report.records,
            bytes: report.bytes,
            tail: report.tail.map(|tail| tail.to_string()),
            end_lsn: report.end_lsn.map(Lsn::get),
            proven_lsn: report.proven_lsn.map(Lsn::get),
            findings: report.findings.iter().map(FoundDamage::new).collect(),
            ignored: report
                .ignored
                .iter()
                .map(|name| name.to_string_lossy().into_owned())
                .collect(),
            recovery,
            repair: None,
            next: Vec::new(),
            note: None,
        }
    }
}

impl Verified {
    /// Says how far the damage goes, what it costs, and what to do.
    fn explain(&mut self, log: &Log, dir: &Path, program: &Program) -> Result<()> {
        let mut damaged: Vec<&str> = self.findings.iter().filter_map(|f| f.file()).collect();
        damaged.dedup();
        let files = match damaged.as_slice() {
            [] => "the log".to_owned(),
            [file] => (*file).to_owned(),
            files => format!("the {} damaged files", files.len()),
        };
        self.next
            .push(format!("restore {files} from a backup, if there is one"));
        let (command, place) = (program.command, quoted(dir));
        if log.is_one_segment() {
            let holes = Holes::of_segment(log)?;
            self.measure(&holes);
            self.next.push(format!("{command} dump {place}"));
            return Ok(());
        }
        let bar = Progress::new();
        // What a newer version wrote cannot be repaired by this one.
        let plan = log.repair_plan(|progress| bar.show(progress)).ok();
        drop(bar);
        let Some(plan) = plan else {
            return Ok(());
        };
        self.measure(&Holes::of_plan(log, &plan)?);
        let cost = Cost::new(&plan);
        self.next
            .push(format!("{command} repair {place} --output NEW"));
        if !cost.is_all_kept() {
            self.next
                .push(format!("{command} salvage {place} --output NEW"));
        }
        self.repair = Some(cost);
        Ok(())
    }

    fn measure(&mut self, holes: &Holes) {
        for finding in &mut self.findings {
            finding.extent = finding.lsn().and_then(|lsn| holes.of(lsn));
        }
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    if text.chars().all(plain) && !text.is_empty() {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Runs the command.
pub(crate) fn verify(args: &LogArgs, program: &Program, out: &mut Output) -> Result<Outcome> {
    let opened = open(&args.dir, program)?;
    let log = &opened.log;
    let bar = Progress::new();
    let report = log.verify(|progress| bar.show(progress));
    drop(bar);
    let mut verified = Verified {
        note: note(log),
        ..Verified::new(&report?, uncovered(&opened, program)?)
    };
    if !verified.ok {
        verified.explain(log, &args.dir, program)?;
    }
    out.show(args.json, &verified, print)?;
    Ok(Outcome::clean_if(
        verified.ok && verified.recovery.is_none(),
    ))
}

fn print(verified: &Verified, out: &mut Output) -> Result<()> {
    for finding in &verified.findings {
        out.line(finding.to_text())?;
        out.line("")?;
    }
    for name in &verified.ignored {
        out.line(format!("not a file of the log: {}", text::printable(name)))?;
    }
    if let Some(refusal) = &verified.recovery {
        out.line(format!("recovery: {refusal}"))?;
    }
    if let Some(note) = verified.note {
        out.line(format!("note: {note}"))?;
    }
    let tail = verified.tail.as_deref().unwrap_or("unknown");
    let end = verified
        .end_lsn
        .map_or("unknown".to_owned(), |lsn| format!("LSN {lsn}"));
    let proven = verified
        .proven_lsn
        .map_or("unknown".to_owned(), |lsn| format!("LSN {lsn}"));
    out.line(format!(
        "{}: {} records in {} frames, {} read; end {end} ({tail}), proven durable up to {proven}",
        if verified.ok { "ok" } else { "DAMAGED" },
        text::grouped(verified.records),
        text::grouped(verified.frames),
        text::bytes(verified.bytes),
    ))?;
    if let Some(cost) = &verified.repair {
        out.line(cost.to_text())?;
    }
    for (index, next) in verified.next.iter().enumerate() {
        let title = if index == 0 { "next:" } else { "or:" };
        out.line(format!("{title:<6}{next}"))?;
    }
    Ok(())
}
