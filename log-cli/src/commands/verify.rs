//! `highwater-log verify`: every byte.

use crate::args::LogArgs;
use crate::commands::damage::FoundDamage;
use crate::commands::open::{open, uncovered};
use crate::commands::progress::Progress;
use crate::outcome::{Outcome, Result};
use crate::output::Output;
use crate::program::Program;
use crate::text;
use highwater_wal::Lsn;
use highwater_wal::inspect::Report;
use serde::Serialize;

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
        }
    }
}

/// Runs the command.
pub(crate) fn verify(args: &LogArgs, program: &Program, out: &mut Output) -> Result<Outcome> {
    let opened = open(&args.dir, program)?;
    let log = &opened.log;
    let bar = Progress::new();
    let report = log.verify(|progress| bar.show(progress));
    drop(bar);
    let verified = Verified::new(&report?, uncovered(&opened, program)?);
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
    ))
}
