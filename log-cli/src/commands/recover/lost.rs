//! Lost ranges, for JSON and for people; and what `repair` and `salvage` have in common.

use crate::args::RecoverArgs;
use crate::commands::damage::FoundDamage;
use crate::commands::open::{Located, locate};
use crate::outcome::{Failure, Result};
use crate::output::{Output, add_row, render, table};
use crate::text;
use highwater_wal::WalError;
use highwater_wal::inspect::Losses;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What of a log is gone.
#[derive(Debug, Serialize)]
pub(crate) struct Lost {
    count: u64,
    bytes: u64,
    ranges: Vec<Range>,
}

#[derive(Debug, Serialize)]
struct Range {
    from_lsn: u64,
    /// Unknown if nothing tells how far the log went.
    to_lsn: Option<u64>,
    file: String,
    offset: u64,
    /// What is there instead.
    what: String,
}

impl Lost {
    pub(crate) fn new(losses: &Losses) -> Self {
        let ranges = losses.ranges.iter().map(|range| Range {
            from_lsn: range.from.get(),
            to_lsn: range.to.map(|to| to.get()),
            file: range.file.display().to_string(),
            offset: range.offset,
            what: range.what.clone(),
        });
        Self {
            count: losses.count,
            bytes: losses.bytes,
            ranges: ranges.collect(),
        }
    }

    pub(crate) fn print(&self, title: &str, out: &mut Output) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        out.line(title)?;
        let mut rows = table(&[
            "#from LSN",
            "#to LSN",
            "#bytes",
            "file",
            "#offset",
            "found there",
        ]);
        for range in &self.ranges {
            let bytes = range.to_lsn.map(|to| to.saturating_sub(range.from_lsn));
            let unknown = || "unknown".to_owned();
            add_row(
                &mut rows,
                [
                    range.from_lsn.to_string(),
                    range.to_lsn.map_or_else(unknown, |to| to.to_string()),
                    bytes.map_or_else(unknown, text::grouped),
                    name_of(&range.file),
                    range.offset.to_string(),
                    range.what.clone(),
                ],
            );
        }
        out.line(render(&rows))?;
        let more = self.count - self.ranges.len() as u64;
        if more > 0 {
            out.line(format!("and {} more", text::grouped(more)))?;
        }
        out.line("")
    }
}

fn name_of(file: &str) -> String {
    let name = Path::new(file).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The old log, and the directory of the new one as an absolute path.
pub(crate) fn places(args: &RecoverArgs) -> Result<(Located, PathBuf)> {
    let mut from = locate(&args.log.dir)?;
    // Through symbolic links, too, the new log must not come to lie in the old one.
    from.dir = real(&from.dir)?;
    let to = match (args.output.parent(), args.output.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => {
            real(Path::new("."))?.join(name)
        }
        (Some(parent), Some(name)) => real(parent)?.join(name),
        _ => real(&args.output)?,
    };
    let to = to.canonicalize().unwrap_or(to);
    let engine = args.log.dir.canonicalize();
    if to.starts_with(&from.dir) || engine.is_ok_and(|engine| to == engine) {
        return Err(Failure::Usage(format!(
            "--output {} lies in the old log: name a directory outside of it",
            args.output.display()
        )));
    }
    Ok((from, to))
}

fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .map_err(|e| Failure::io("cannot find", path, &e))
}

/// What was wrong with files as such, and what is not the log's.
pub(crate) fn print_findings(
    findings: &[FoundDamage],
    ignored: &[String],
    out: &mut Output,
) -> Result<()> {
    for finding in findings {
        out.line(finding.to_text())?;
        out.line("")?;
    }
    for name in ignored {
        out.line(format!("not a file of the log: {}", text::printable(name)))?;
    }
    Ok(())
}

pub(crate) fn names(ignored: &[OsString]) -> Vec<String> {
    let names = ignored.iter().map(|name| name.to_string_lossy());
    names.map(std::borrow::Cow::into_owned).collect()
}

pub(crate) fn findings(errors: &[WalError]) -> Vec<FoundDamage> {
    errors.iter().map(FoundDamage::new).collect()
}
