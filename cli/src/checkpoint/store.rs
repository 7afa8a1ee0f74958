//! The checkpoints of a directory, and whether they belong to the log next to them.

use crate::decode;
use crate::engine_records;
use crate::outcome::{Failure, Result};
use highwater::checkpoint::entries::entries;
use highwater::checkpoint::{
    Checkpoint, Checkpoints, GroupEntries, Inspected, LocalStore, Manifest, StateEntry, Store,
    StoredGroup, Validity, open_url,
};
use highwater::disk::{Disk, EntryKind, OsDisk};
use highwater::wal::inspect::Log;
use highwater::wal::{FrameKind, Lsn, StreamId};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Kind of the states that hold a source's producer table.
const PRODUCERS: &str = "producers";

/// The checkpoints of a directory, newest first, with all their files read and checked.
pub(crate) struct Found {
    store: Arc<dyn Store>,
    pub(crate) checkpoints: Vec<Inspected>,
    /// The log that they belong to, if it is next to them.
    pub(crate) log: Option<Bounds>,
    /// Why a start would refuse although nothing that is there is damaged: the log's beginning is
    /// gone, and with it the checkpoints that covered it.
    pub(crate) uncovered: Option<String>,
}

/// What is known of the log without reading it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    id: u128,
    first_lsn: u64,
}

impl Found {
    /// Looks at the checkpoints in `dir`, or in its subdirectory `checkpoints` if it is an engine's
    /// directory. If it is a URL, at those in that store, without a log beside them.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        if let Some(url) = dir.to_str().filter(|dir| dir.contains("://")) {
            return Self::at(url);
        }
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
        let dir = disk
            .resolve(dir)
            .map_err(|e| Failure::io("cannot find", dir, &e))?;
        let entries = disk.list(&dir).map_err(|e| Failure::Io(e.to_string()))?;
        let is_dir = |name: &str| {
            let mut dirs = entries.iter().filter(|e| e.kind == EntryKind::Directory);
            dirs.any(|e| e.name == name)
        };
        let is_engines = is_dir("checkpoints") || is_dir("log");
        let (place, log) = if is_engines {
            (dir.join("checkpoints"), dir.join("log"))
        } else {
            (dir.clone(), dir.with_file_name("log"))
        };
        // Without a log, or with a damaged one, checkpoints can be looked at all the same.
        let opened = Log::open(Arc::clone(&disk), log).ok();
        let log = opened.as_ref().map(|log| Bounds {
            id: log.log_id(),
            first_lsn: log.first_lsn().get(),
        });
        let is_gone = is_engines && !is_dir("checkpoints");
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(disk, place));
        let checkpoints = match is_gone {
            true => Vec::new(),
            false => Checkpoints::inspect(&store)?,
        };
        let uncovered = match &opened {
            Some(log) if checkpoints.is_empty() => refusal(log),
            _ => None,
        };
        if checkpoints.is_empty() && log.is_none() {
            return Err(Failure::Io(format!(
                "{} holds no checkpoints, and there is no log next to it: name the directory of an engine, or that of its \
                 checkpoints",
                dir.display()
            )));
        }
        Ok(Self {
            checkpoints,
            store,
            log,
            uncovered,
        })
    }

    fn at(url: &str) -> Result<Self> {
        let store = open_url(url).map_err(|e| Failure::Usage(e.to_string()))?;
        let checkpoints = Checkpoints::inspect(&store)?;
        if checkpoints.is_empty() {
            return Err(Failure::Io(format!(
                "{} holds no checkpoints",
                store.place()
            )));
        }
        Ok(Self {
            store,
            checkpoints,
            log: None,
            uncovered: None,
        })
    }

    /// The checkpoint that recovery would take: the newest valid one. None if it would refuse to
    /// choose.
    pub(crate) fn recovered_from(&self) -> Option<&Manifest> {
        let newer = |c: &Inspected| matches!(c.validity, Validity::NewerFormat(_));
        if self.checkpoints.iter().any(newer) {
            return None;
        }
        let newest = self
            .checkpoints
            .iter()
            .find(|c| c.validity == Validity::Valid)?;
        newest
            .manifest
            .as_ref()
            .filter(|manifest| self.misfit(manifest).is_none())
    }

    /// Why a checkpoint does not go with the log next to it.
    pub(crate) fn misfit(&self, manifest: &Manifest) -> Option<String> {
        let log = self.log?;
        if manifest.log_id != log.id {
            return Some(format!(
                "belongs to log {:032x}, next to it is log {:032x}",
                manifest.log_id, log.id
            ));
        }
        (manifest.lsn < log.first_lsn).then(|| {
            format!(
                "continues at LSN {}, but the log begins only at LSN {}",
                manifest.lsn, log.first_lsn
            )
        })
    }

    /// What is wrong with a checkpoint, if anything is.
    pub(crate) fn problem(&self, checkpoint: &Inspected) -> Option<String> {
        match &checkpoint.validity {
            Validity::Damaged(reason) | Validity::NewerFormat(reason) => Some(reason.clone()),
            Validity::Valid => checkpoint.manifest.as_ref().and_then(|m| self.misfit(m)),
        }
    }

    /// A checkpoint, to read from.
    pub(crate) fn to_read(&self, manifest: &Manifest) -> Checkpoint {
        Checkpoint::of_manifest(Arc::clone(&self.store), manifest.clone())
    }

    /// The entries of a state, key group by key group, decoded. Every block is checked when it is
    /// read. So the sound blocks of a damaged checkpoint can still be read.
    pub(crate) fn entries(
        &self,
        manifest: &Manifest,
        state: &StateEntry,
        mut each: impl FnMut(u32, Value, Value) -> Result<()>,
    ) -> Result<()> {
        let checkpoint = self.to_read(manifest);
        for StoredGroup { key_group, .. } in checkpoint.groups(&state.name)? {
            let Some(GroupEntries { bytes, .. }) = checkpoint.read_group(&state.name, key_group)?
            else {
                continue;
            };
            if state.kind == PRODUCERS && manifest.format_version == 1 {
                let table = decode::to_json_or_base64(&bytes);
                // Checkpoints of the first version have no epochs.
                for table in ["known", "producers"].map(|name| table.get(name)) {
                    for (producer, last) in table.and_then(Value::as_object).into_iter().flatten() {
                        let producer = Value::String(producer.clone());
                        each(key_group, producer, last.clone())?;
                    }
                }
                continue;
            }
            for entry in entries(&bytes) {
                let (key, value) = entry.map_err(|what| {
                    Failure::Finding(format!(
                        "state \"{}\", key group {key_group}: {what}",
                        state.name
                    ))
                })?;
                each(
                    key_group,
                    decode::to_json_or_base64(key),
                    decode::to_json_or_base64(value),
                )?;
            }
        }
        Ok(())
    }
}

/// As [`Found::uncovered`], for the log in `dir` or in its subdirectory `log`; reads no checkpoint.
pub(crate) fn uncovered(log: &Log, beside: &Path) -> Result<Option<String>> {
    let any = match OsDisk::new().list(beside) {
        Ok(entries) => entries
            .iter()
            .any(|e| e.name.to_string_lossy().starts_with("manifest-")),
        Err(e) if e.kind() == ErrorKind::NotFound => false,
        Err(e) => return Err(Failure::Io(e.to_string())),
    };
    Ok(if any { None } else { refusal(log) })
}

/// What a start will say of a log without a checkpoint, if it is an engine's and does not reach
/// back to its beginning.
fn refusal(log: &Log) -> Option<String> {
    let first_lsn = log.first_lsn();
    if first_lsn == Lsn::ZERO || !is_engines(log) {
        return None;
    }
    Some(format!(
        "there are no checkpoints, but the log begins only at LSN {first_lsn}: the records before it are gone, so the \
         engine will refuse to start; put back the checkpoints"
    ))
}

/// Whether an engine writes the log: the first control record of stream 0 tells.
fn is_engines(log: &Log) -> bool {
    let frames = log.frames(Lsn::ZERO).into_iter().flatten();
    let mut frames = frames.map_while(std::result::Result::ok);
    let first = frames.find(|f| f.kind == FrameKind::Control && f.stream == StreamId(0));
    let entry = first.and_then(|frame| engine_records::control(&frame.payload));
    let entry = entry.as_ref().and_then(Value::as_object);
    let known = ["Program", "Cut", "Committed", "Refused"];
    entry.is_some_and(|entry| entry.keys().all(|key| known.contains(&key.as_str())))
}
