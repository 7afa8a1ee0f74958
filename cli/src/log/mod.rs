//! `highwater log`: reads through [`highwater::wal::inspect`], which never writes and takes no lock.

mod dump;
mod list;
mod verify;

pub(crate) use dump::dump;
pub(crate) use list::list;
pub(crate) use verify::verify;

use crate::outcome::{Failure, Result};
use highwater::disk::{Disk, Entry, EntryKind, OsDisk};
use highwater::wal::WalError;
use highwater::wal::inspect::Log;
use serde::Serialize;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// A log, and whose it is.
struct Opened {
    log: Log,
    owner: Owner,
}

/// Who writes the log: decides how records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// An engine: stream 0 holds its own records, the first record of a source's batch says whom it came from.
    Engine,
    /// Some program: records are bytes.
    Program,
}

/// Opens the log in `dir`, or in its subdirectory `log` if `dir` is an engine's.
fn open(dir: &Path) -> Result<Opened> {
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
        let log = Log::open(disk, dir.join("log"))?;
        return Ok(Opened {
            log,
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
    Ok(Opened {
        log: Log::open(disk, dir)?,
        owner,
    })
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
