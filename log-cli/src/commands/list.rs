//! `highwater-log list`: the segments.

use crate::args::LogArgs;
use crate::commands::damage::FoundDamage;
use crate::commands::open::{note, open, uncovered};
use crate::outcome::{Outcome, Result};
use crate::output::{Output, render, table};
use crate::program::Program;
use crate::text;
use highwater_wal::inspect::{Log, Report, SegmentInfo, SegmentState};
use highwater_wal::{CursorInfo, Lsn, WalError};
use serde::Serialize;

/// What is printed.
#[derive(Debug, Serialize)]
struct Listing {
    log_id: String,
    first_lsn: u64,
    /// Where it ends, if its files are sound enough to tell.
    end_lsn: Option<u64>,
    /// How it ends.
    tail: Option<String>,
    segments: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cursors: Vec<CursorRow>,
    /// Ranges of the log whose records were taken back: from, to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voids: Vec<VoidRow>,
    findings: Vec<FoundDamage>,
    /// Why the engine would refuse to start, though the log is sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<String>,
    /// What cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Row {
    file: String,
    base_lsn: u64,
    end_lsn: u64,
    size_bytes: u64,
    used_bytes: u64,
    records: u64,
    /// The first and the last time that stand in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<(String, String)>,
    state: String,
}

/// A named consumer.
#[derive(Debug, Serialize)]
struct CursorRow {
    name: String,
    position: u64,
    bytes_behind: u64,
}

/// Runs the command.
pub(crate) fn list(args: &LogArgs, program: &Program, out: &mut Output) -> Result<Outcome> {
    let opened = open(&args.dir, program)?;
    let log = &opened.log;
    let report = log.verify(|_| ())?;
    let rows = log.segments()?;
    let rows = rows
        .iter()
        .map(|segment| row(segment, &report, log.is_one_segment()))
        .collect();
    let (cursors, voids) = marks(log)?;
    let listing = Listing {
        log_id: format!("{:032x}", log.log_id()),
        first_lsn: log.first_lsn().get(),
        end_lsn: report.end_lsn.map(Lsn::get),
        tail: report.tail.map(|tail| tail.to_string()),
        segments: rows,
        cursors,
        voids,
        findings: report.findings.iter().map(FoundDamage::new).collect(),
        recovery: uncovered(&opened, program)?,
        note: note(log),
    };
    out.show(args.json, &listing, print)?;
    let clean = listing.findings.is_empty() && listing.recovery.is_none();
    Ok(Outcome::clean_if(clean))
}

/// From an LSN, up to another.
type VoidRow = (u64, u64);

/// The cursors of the log, and what was taken back.
fn marks(log: &Log) -> Result<(Vec<CursorRow>, Vec<VoidRow>)> {
    let frames = log.frames(Lsn::ZERO)?;
    let row = |cursor: CursorInfo| CursorRow {
        name: cursor.name,
        position: cursor.position.get(),
        bytes_behind: cursor.bytes,
    };
    let cursors = frames.cursors().into_iter().map(row).collect();
    let voids = frames.voids().into_iter();
    let voids = voids.map(|(from, to)| (from.get(), to.get())).collect();
    Ok((cursors, voids))
}

fn row(segment: &SegmentInfo, report: &Report, is_lone: bool) -> Row {
    let base = segment.base.get();
    let holds = report.segments.iter().find(|s| s.base == segment.base);
    let holds = holds.copied().unwrap_or_default();
    let is_damaged = report
        .findings
        .iter()
        .any(|finding| matches!(finding, WalError::Corrupt { file, .. } if *file == segment.file));
    let state = match &segment.state {
        SegmentState::Damaged(_) => "damaged".to_owned(),
        SegmentState::Live if is_damaged => "damaged".to_owned(),
        SegmentState::Live if is_lone => "readable".to_owned(),
        SegmentState::Live if holds.sealed => "sealed".to_owned(),
        SegmentState::Live => "active".to_owned(),
        other => other.to_string(),
    };
    Row {
        file: segment
            .file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        base_lsn: base,
        end_lsn: base + segment.size_bytes,
        size_bytes: segment.size_bytes,
        used_bytes: holds.used_bytes,
        records: holds.records,
        written: holds
            .times
            .map(|(first, last)| (text::time(first), text::time(last))),
        state,
    }
}

fn print(listing: &Listing, out: &mut Output) -> Result<()> {
    let unknown = || "unknown".to_owned();
    let end = listing.end_lsn.map_or_else(unknown, |end| end.to_string());
    let tail = listing.tail.clone().unwrap_or_else(unknown);
    out.line(format!("log id     {}", listing.log_id))?;
    let refusal = listing.recovery.as_ref();
    let refusal = refusal.map_or_else(String::new, |refusal| format!(": {refusal}"));
    let first = match listing.note {
        None => listing.first_lsn.to_string(),
        Some(_) => "unknown".to_owned(),
    };
    out.line(format!("first LSN  {first}{refusal}"))?;
    out.line(format!("end LSN    {end} ({tail})"))?;
    if let Some(note) = listing.note {
        out.line(format!("note       {note}"))?;
    }
    out.line("")?;
    let mut rows = table(&[
        "file",
        "#base LSN",
        "#end",
        "#used",
        "#records",
        "written",
        "state",
    ]);
    for row in &listing.segments {
        rows.add_row([
            row.file.clone(),
            row.base_lsn.to_string(),
            row.end_lsn.to_string(),
            text::bytes(row.used_bytes),
            text::grouped(row.records),
            written(row),
            row.state.clone(),
        ]);
    }
    out.line(render(&rows))?;
    print_marks(listing, out)?;
    for finding in &listing.findings {
        out.line("")?;
        out.line(finding.to_text())?;
    }
    Ok(())
}

/// When a segment was written, in UTC.
fn written(row: &Row) -> String {
    let Some((first, last)) = &row.written else {
        return String::new();
    };
    // Not the day again, if it is the same.
    let rest = match (first.split_once('T'), last.split_once('T')) {
        (Some((day, _)), Some((same, time))) if day == same => time,
        _ => last,
    };
    format!("{first} .. {rest}")
}

fn print_marks(listing: &Listing, out: &mut Output) -> Result<()> {
    if !listing.cursors.is_empty() {
        out.line("")?;
        let mut rows = table(&["cursor", "#position", "#behind"]);
        for cursor in &listing.cursors {
            rows.add_row([
                text::printable(&cursor.name),
                cursor.position.to_string(),
                text::bytes(cursor.bytes_behind),
            ]);
        }
        out.line(render(&rows))?;
    }
    for (from, to) in &listing.voids {
        out.line(format!(
            "the records from LSN {from} up to {to} count no more"
        ))?;
    }
    Ok(())
}
