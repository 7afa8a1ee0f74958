//! The checkpoints of a directory, and whether they belong to the log next to them.

use crate::engine_records;
use crate::fail::OrFail;
use highwater::checkpoint::{
    Checkpoint, Checkpoints, Inspected, LocalStore, Manifest, Store, Validity, open_url,
};
use highwater::disk::{Disk, EntryKind, OsDisk};
use highwater::wal::inspect::Log;
use highwater::wal::{FrameKind, Lsn, StreamId};
use highwater_log::outcome::{Failure, Result};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where checkpoints are, and the log beside them. Nothing of them was read.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn Store>,
    /// The directory of the checkpoints, if they are in one.
    pub(crate) dir: Option<PathBuf>,
    /// The directory of the log, if there may be one.
    log: Option<PathBuf>,
    disk: Arc<dyn Disk>,
    /// It is an engine's directory, and has none of checkpoints.
    is_gone: bool,
}

impl Place {
    /// `dir`, or its subdirectory `checkpoints` if it is an engine's directory. If it is a URL,
    /// that store, without a log beside it.
    pub(crate) fn find(dir: &Path) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
        if let Some(url) = dir.to_str().filter(|dir| dir.contains("://")) {
            return Ok(Self {
                store: open_url(url).map_err(|e| Failure::Usage(e.to_string()))?,
                dir: None,
                log: None,
                disk,
                is_gone: false,
            });
        }
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
        Ok(Self {
            store: Arc::new(LocalStore::new(Arc::clone(&disk), &place)),
            dir: Some(place),
            log: Some(log),
            is_gone: is_engines && !is_dir("checkpoints"),
            disk,
        })
    }

    /// The log beside the checkpoints. Without one, or with a damaged one, they can be looked at
    /// all the same.
    pub(crate) fn log(&self) -> Option<Log> {
        let dir = self.log.as_ref()?;
        Log::open(Arc::clone(&self.disk), dir).ok()
    }

    /// What `look` finds in the store; nothing if the engine's directory has none.
    pub(crate) fn look<T: Default>(
        &self,
        look: impl FnOnce(&Arc<dyn Store>) -> highwater::checkpoint::Result<T>,
    ) -> Result<T> {
        match self.is_gone {
            true => Ok(T::default()),
            false => look(&self.store).or_fail(),
        }
    }

    /// There are no checkpoints: why a start would refuse, if it would.
    ///
    /// # Errors
    /// If there is no log either.
    pub(crate) fn without_checkpoints(&self, log: Option<&Log>) -> Result<Option<String>> {
        match log {
            Some(log) => Ok(refusal(log)),
            None => {
                let place = self.store.place();
                let text = match self.dir {
                    Some(_) => format!(
                        "{place} holds no checkpoints, and there is no log next to it: name the directory of an engine, or that of \
                         its checkpoints"
                    ),
                    None => format!("{place} holds no checkpoints"),
                };
                Err(Failure::Io(text))
            }
        }
    }
}

/// The checkpoints of a directory, newest first, with all their files read and checked.
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) checkpoints: Vec<Inspected>,
    /// The log that they belong to, if it is next to them.
    pub(crate) log: Option<Bounds>,
    /// Why a start would refuse although nothing that is there is damaged: the log's beginning is
    /// gone, and with it the checkpoints that covered it.
    pub(crate) uncovered: Option<String>,
}

/// What is known of the log without reading it.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    id: u128,
    first_lsn: u64,
    /// Logs that are gone, and whose place it has taken.
    predecessors: Vec<String>,
}

impl Bounds {
    /// What is known of a log, and what its checkpoints tell of it.
    pub(crate) fn of<'a>(log: &Log, manifests: impl Iterator<Item = &'a Manifest>) -> Self {
        let id = log.log_id();
        let mut own = manifests.filter(|manifest| manifest.log_id == id);
        let metadata = own.next().map(|newest| &newest.metadata);
        let listed = metadata.and_then(|metadata| metadata.get("predecessors")?.as_array());
        let listed = listed.into_iter().flatten().filter_map(Value::as_str);
        Self {
            id,
            first_lsn: log.first_lsn().get(),
            predecessors: listed.map(str::to_owned).collect(),
        }
    }

    /// Whether a checkpoint is of a log that is gone, in a place where this one goes on. It is
    /// retired like any other, and no start takes it.
    pub(crate) fn is_predecessors(&self, manifest: &Manifest) -> bool {
        self.predecessors
            .contains(&format!("{:032x}", manifest.log_id))
    }

    /// Why a checkpoint does not go with the log.
    pub(crate) fn misfit(&self, manifest: &Manifest) -> Option<String> {
        if self.is_predecessors(manifest) {
            return None;
        }
        if manifest.log_id != self.id {
            return Some(format!(
                "belongs to log {:032x}, next to it is log {:032x}",
                manifest.log_id, self.id
            ));
        }
        (manifest.lsn < self.first_lsn).then(|| {
            format!(
                "continues at LSN {}, but the log begins only at LSN {}",
                manifest.lsn, self.first_lsn
            )
        })
    }
}

impl Found {
    /// Looks at the checkpoints in `dir`, or in its subdirectory `checkpoints` if it is an engine's
    /// directory. If it is a URL, at those in that store, without a log beside them.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let place = Place::find(dir)?;
        let log = place.log();
        let checkpoints = place.look(Checkpoints::inspect)?;
        let uncovered = match checkpoints.is_empty() {
            true => place.without_checkpoints(log.as_ref())?,
            false => None,
        };
        Ok(Self {
            log: log.as_ref().map(|log| {
                let manifests = checkpoints.iter().filter_map(|c| c.manifest.as_ref());
                Bounds::of(log, manifests)
            }),
            checkpoints,
            uncovered,
            place,
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
            .filter(|manifest| self.misfit(manifest).is_none() && !self.is_predecessors(manifest))
    }

    /// Why a checkpoint does not go with the log next to it.
    pub(crate) fn misfit(&self, manifest: &Manifest) -> Option<String> {
        self.log.as_ref()?.misfit(manifest)
    }

    /// Whether a checkpoint is of a log that is gone, in a place where this one goes on.
    pub(crate) fn is_predecessors(&self, manifest: &Manifest) -> bool {
        let log = self.log.as_ref();
        log.is_some_and(|log| log.is_predecessors(manifest))
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
        Checkpoint::of_manifest(Arc::clone(&self.place.store), manifest.clone())
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
