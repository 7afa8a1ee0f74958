//! `highwater log`: looks through [`highwater::wal::inspect`], which never writes and takes no
//! lock; rescues into new directories; judges disks.

mod bench;
mod decoder;
mod dump;
mod follow;
mod list;
mod lost;
mod progress;
mod repair;
mod salvage;
mod selftest;
mod stats;
mod verify;

pub(crate) use bench::bench;
pub(crate) use dump::dump;
pub(crate) use list::list;
pub(crate) use repair::repair;
pub(crate) use salvage::salvage;
pub(crate) use selftest::selftest;
pub(crate) use stats::stats;
pub(crate) use verify::verify;

use crate::checkpoint;
use crate::outcome::{Failure, Result};
use highwater::disk::{Disk, Entry, EntryKind, OsDisk};
use highwater::wal::inspect::Log;
use highwater::wal::{Finding, WalError};
use serde::Serialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log, and whose it is.
struct Opened {
    log: Log,
    owner: Owner,
    /// Where it lies, from the root on.
    dir: PathBuf,
}

/// Who writes the log: decides how records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// An engine: stream 0 holds its own records, the first record of a source's batch says whom it
    /// came from.
    Engine,
    /// Some program: records are bytes.
    Program,
}

/// Why the engine whose log this is would refuse to start, though the log is sound.
fn uncovered(opened: &Opened) -> Result<Option<String>> {
    let beside = opened.dir.with_file_name("checkpoints");
    checkpoint::uncovered(&opened.log, &beside)
}

/// Where a log lies, and whose it is.
struct Located {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    owner: Owner,
}

/// Finds the log: in `dir`, or in its subdirectory `log` if `dir` is an engine's.
fn locate(dir: &Path) -> Result<Located> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let entries = disk.list(dir).map_err(|e| Failure::Io(e.to_string()))?;
    let has_dir = |entries: &[Entry], name: &str| {
        entries
            .iter()
            .any(|e| e.kind == EntryKind::Directory && e.name == name)
    };
    let is_log = entries
        .iter()
        .any(|e| e.name == "LOG" || Path::new(&e.name).extension() == Some(OsStr::new("wal")));
    if !is_log && has_dir(&entries, "log") {
        return Ok(Located {
            disk,
            dir: dir.join("log"),
            owner: Owner::Engine,
        });
    }
    let beside = dir
        .parent()
        .and_then(|parent| disk.list(parent).ok())
        .unwrap_or_default();
    let is_engines = dir.file_name() == Some(OsStr::new("log")) && has_dir(&beside, "checkpoints");
    let owner = if is_engines {
        Owner::Engine
    } else {
        Owner::Program
    };
    Ok(Located {
        disk,
        dir: dir.to_owned(),
        owner,
    })
}

/// Opens the log in `dir`, or in its subdirectory `log` if `dir` is an engine's.
fn open(dir: &Path) -> Result<Opened> {
    let Located { disk, dir, owner } = locate(dir)?;
    let dir = disk
        .resolve(&dir)
        .map_err(|e| Failure::io("cannot find", &dir, &e))?;
    match Log::open(disk, &dir) {
        Ok(log) => Ok(Opened { log, owner, dir }),
        Err(error @ WalError::Corrupt { .. }) => Err(Failure::Finding(with_advice(&error))),
        Err(error) => Err(error.into()),
    }
}

/// A damage, and which commands help further.
fn with_advice(error: &WalError) -> String {
    let next = match error {
        // Every command that only looks needs LOG.
        WalError::Corrupt {
            finding: Finding::DamagedMeta | Finding::MissingMeta,
            ..
        } => "`highwater log repair DIR --output NEW` makes a log from the segments alone",
        _ => {
            "`highwater log verify` lists every damage, `repair` keeps what stands before the first, `salvage` what is \
             intact around it"
        }
    };
    let text = FoundDamage::new(error).to_text();
    format!("{text}\n  next    {next}")
}

/// A damage, for JSON and for people.
#[derive(Debug, Serialize)]
struct FoundDamage {
    /// What kind of damage.
    label: String,
    file: Option<String>,
    offset: Option<u64>,
    lsn: Option<u64>,
    /// What was found and what to do.
    what: String,
}

impl FoundDamage {
    fn new(error: &WalError) -> Self {
        match error {
            WalError::Corrupt {
                finding,
                file,
                offset,
                lsn,
                what,
            } => Self {
                label: finding.to_string(),
                file: Some(file.display().to_string()),
                offset: Some(*offset),
                lsn: Some(lsn.get()),
                what: what.clone(),
            },
            WalError::NewerFormat { file, .. } => Self {
                label: "newer format".to_owned(),
                file: Some(file.display().to_string()),
                offset: None,
                lsn: None,
                what: error.to_string(),
            },
            other => Self {
                label: "error".to_owned(),
                file: None,
                offset: None,
                lsn: None,
                what: other.to_string(),
            },
        }
    }

    fn to_text(&self) -> String {
        let Self {
            label,
            file,
            offset,
            lsn,
            what,
        } = self;
        let mut text = label.clone();
        if let Some(file) = file {
            text.push_str(&format!("\n  file    {file}"));
        }
        if let (Some(offset), Some(lsn)) = (offset, lsn) {
            text.push_str(&format!("\n  offset  {offset} (LSN {lsn})"));
        }
        text.push_str(&format!("\n  what    {what}"));
        text
    }
}
