//! Finding and opening a log for commands that only read.

use crate::commands::damage::with_advice;
use crate::outcome::{Failure, Result};
use crate::program::Program;
use highwater_wal::WalError;
use highwater_wal::disk::{Disk, Entry, EntryKind, OsDisk};
use highwater_wal::inspect::Log;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log, and which program writes it.
pub(crate) struct Opened {
    pub(crate) log: Log,
    pub(crate) owner: Owner,
    /// Its directory, from the root on.
    pub(crate) dir: PathBuf,
}

/// Which program writes the log: decides how records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An engine: stream 0 holds its own records, and the first record of a source's batch names
    /// the producer.
    Engine,
    /// Another program: records are bytes.
    Program,
}

/// Why the engine of this log would refuse to start although the log is sound.
pub(crate) fn uncovered(opened: &Opened, program: &Program) -> Result<Option<String>> {
    let engine = program.engine.filter(|_| !opened.log.is_one_segment());
    engine.map_or(Ok(None), |engine| engine.refusal(&opened.log, &opened.dir))
}

/// What cannot be known of one segment file.
const UNKNOWN: &str = "one segment file without its log: where the log starts and ends, and what was proven durable or taken back but by \
     the frames in this file, is not known";

/// What to say of a log that is one segment file.
pub(crate) fn note(log: &Log) -> Option<&'static str> {
    log.is_one_segment().then_some(UNKNOWN)
}

/// The directory of a log, and which program writes it.
pub(crate) struct Located {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) owner: Owner,
}

/// Finds the log: in `dir`, or in its subdirectory `log` if `dir` is an engine's.
pub(crate) fn locate(dir: &Path) -> Result<Located> {
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

/// Whether the path is that of a segment file.
fn is_segment(path: &Path) -> bool {
    let listed = OsDisk::new().list(path).map_err(|e| e.kind());
    path.extension() == Some(OsStr::new("wal")) && listed.err() == Some(ErrorKind::NotADirectory)
}

/// Opens the log in `dir`, or in its subdirectory `log` if `dir` is an engine's; or one segment
/// file.
pub(crate) fn open(dir: &Path, program: &Program) -> Result<Opened> {
    if is_segment(dir) {
        let log = Log::open_segment(Arc::new(OsDisk::new()), dir)?;
        return Ok(Opened {
            log,
            owner: Owner::Program,
            dir: dir.to_owned(),
        });
    }
    let Located { disk, dir, owner } = locate(dir)?;
    let dir = disk
        .resolve(&dir)
        .map_err(|e| Failure::io("cannot find", &dir, &e))?;
    match Log::open(disk, &dir) {
        Ok(log) => Ok(Opened { log, owner, dir }),
        Err(error @ WalError::Corrupt { .. }) => {
            Err(Failure::Finding(with_advice(&error, program)))
        }
        Err(error) => Err(error.into()),
    }
}
