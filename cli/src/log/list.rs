//! `highwater log list`: the segments.

use super::{FoundDamage, open};
use crate::args::LogArgs;
use crate::outcome::{Outcome, Result};
use crate::output::{Output, render, table};
use crate::text;
use highwater::wal::inspect::{Log, SegmentInfo, SegmentState};
use highwater::wal::{FrameKind, Lsn, WalError};
use serde::Serialize;
use std::collections::HashMap;
use std::path::PathBuf;

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
    findings: Vec<FoundDamage>,
}

#[derive(Debug, Serialize)]
struct Row {
    file: String,
    base_lsn: u64,
    end_lsn: u64,
    size_bytes: u64,
    used_bytes: u64,
    records: u64,
    state: String,
}

/// What the frames of a segment add up to.
#[derive(Debug, Default)]
struct Sum {
    end: u64,
    records: u64,
    sealed: bool,
}

/// Runs the command.
pub(crate) fn list(args: &LogArgs, out: &mut Output) -> Result<Outcome> {
    let log = open(&args.dir)?.log;
    let report = log.verify(|_| ())?;
    let sums = sums(&log)?;
    let rows = log
        .segments()?
        .iter()
        .map(|segment| row(segment, &sums))
        .collect();
    let listing = Listing {
        log_id: format!("{:032x}", log.log_id()),
        first_lsn: log.first_lsn().get(),
        end_lsn: report.end_lsn.map(Lsn::get),
        tail: report.tail.map(|tail| tail.to_string()),
        segments: rows,
        findings: report.findings.iter().map(FoundDamage::new).collect(),
    };
    out.show(args.json, &listing, print)?;
    Ok(Outcome::clean_if(listing.findings.is_empty()))
}

/// Goes through the frames up to the end or the first damage, which `verify` has reported.
fn sums(log: &Log) -> Result<HashMap<PathBuf, Sum>> {
    let mut sums = HashMap::<PathBuf, Sum>::new();
    let frames = match log.frames(Lsn::ZERO) {
        Ok(frames) => frames,
        Err(error @ WalError::Io { .. }) => return Err(error.into()),
        Err(_) => return Ok(sums),
    };
    for frame in frames {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error @ WalError::Io { .. }) => return Err(error.into()),
            Err(_) => break,
        };
        let records = frame.records().len() as u64;
        let sum = sums.entry(frame.file).or_default();
        sum.records += records;
        if frame.kind == FrameKind::Seal {
            sum.sealed = true;
        } else {
            sum.end = frame.end_lsn.get();
        }
    }
    Ok(sums)
}

fn row(segment: &SegmentInfo, sums: &HashMap<PathBuf, Sum>) -> Row {
    let base = segment.base.get();
    let sum = sums.get(&segment.file);
    let state = match (&segment.state, sum) {
        (SegmentState::Live, Some(sum)) if sum.sealed => "sealed".to_owned(),
        (SegmentState::Live, _) => "active".to_owned(),
        (SegmentState::Damaged(_), _) => "damaged".to_owned(),
        (other, _) => other.to_string(),
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
        used_bytes: sum.map_or(0, |sum| sum.end.saturating_sub(base)),
        records: sum.map_or(0, |sum| sum.records),
        state,
    }
}

fn print(listing: &Listing, out: &mut Output) -> Result<()> {
    let unknown = || "unknown".to_owned();
    let end = listing.end_lsn.map_or_else(unknown, |end| end.to_string());
    let tail = listing.tail.clone().unwrap_or_else(unknown);
    out.line(format!("log id     {}", listing.log_id))?;
    out.line(format!("first LSN  {}", listing.first_lsn))?;
    out.line(format!("end LSN    {end} ({tail})"))?;
    out.line("")?;
    let mut rows = table(&["file", "#base LSN", "#end", "#used", "#records", "state"]);
    for row in &listing.segments {
        rows.add_row([
            row.file.clone(),
            row.base_lsn.to_string(),
            row.end_lsn.to_string(),
            text::bytes(row.used_bytes),
            text::grouped(row.records),
            row.state.clone(),
        ]);
    }
    out.line(render(&rows))?;
    for finding in &listing.findings {
        out.line("")?;
        out.line(finding.to_text())?;
    }
    Ok(())
}
