//! `highwater checkpoint`: reads a store of checkpoints without changing it.

mod list;
mod show;

pub(crate) use list::list;
pub(crate) use show::show;

use crate::decode;
use crate::outcome::{Failure, Result};
use highwater::checkpoint::{
    Checkpoint, Checkpoints, Inspected, LocalStore, Manifest, StateEntry, Store, Validity,
};
use highwater::disk::{Disk, EntryKind, OsDisk};
use highwater::wal::inspect::Log;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Kind of the states that hold a source's producer table.
const PRODUCERS: &str = "producers";

/// The checkpoints of a directory, newest first, with all their files read and checked.
pub(crate) struct Found {
    store: Arc<dyn Store>,
    checkpoints: Vec<Inspected>,
    /// The log that they belong to, if it is next to them.
    log: Option<Bounds>,
}

/// What is known of the log without reading it.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    id: u128,
    first_lsn: u64,
}

impl Found {
    /// Looks at the checkpoints in `dir`, or in its subdirectory `checkpoints` if it has one.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
        let entries = disk.list(dir).map_err(|e| Failure::Io(e.to_string()))?;
        let is_engines = entries
            .iter()
            .any(|e| e.kind == EntryKind::Directory && e.name == "checkpoints");
        let (place, log) = if is_engines {
            (dir.join("checkpoints"), dir.join("log"))
        } else {
            (dir.to_owned(), dir.with_file_name("log"))
        };
        // Without a log, or with a damaged one, checkpoints can be looked at all the same.
        let log = Log::open(Arc::clone(&disk), log).ok();
        let log = log.map(|log| Bounds {
            id: log.log_id(),
            first_lsn: log.first_lsn().get(),
        });
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(disk, place));
        Ok(Self {
            checkpoints: Checkpoints::inspect(&store)?,
            store,
            log,
        })
    }

    /// The checkpoint that recovery would take: the newest valid one. None if it would refuse to choose.
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
    fn misfit(&self, manifest: &Manifest) -> Option<String> {
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
    fn problem(&self, checkpoint: &Inspected) -> Option<String> {
        match &checkpoint.validity {
            Validity::Damaged(reason) | Validity::NewerFormat(reason) => Some(reason.clone()),
            Validity::Valid => checkpoint.manifest.as_ref().and_then(|m| self.misfit(m)),
        }
    }

    /// The entries of a state, key group by key group, decoded. Every block is checked when it is read: the checkpoint may
    /// be a damaged one, and in that the sound blocks can still be looked at.
    pub(crate) fn entries(
        &self,
        manifest: &Manifest,
        state: &StateEntry,
        mut each: impl FnMut(u32, Value, Value) -> Result<()>,
    ) -> Result<()> {
        let checkpoint = Checkpoint::of_manifest(Arc::clone(&self.store), manifest.clone());
        for block in &state.blocks {
            let Some(bytes) = checkpoint.read_block(&state.name, block.key_group)? else {
                continue;
            };
            if state.kind == PRODUCERS {
                let table = decode::to_json_or_base64(&bytes);
                let known = table
                    .get("known")
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default();
                for (producer, last) in known {
                    each(block.key_group, Value::String(producer), last)?;
                }
                continue;
            }
            for entry in decode::entries(&bytes) {
                let (key, value) = entry.map_err(|what| {
                    let group = block.key_group;
                    Failure::Finding(format!(
                        "state \"{}\", key group {group}: {what}",
                        state.name
                    ))
                })?;
                each(
                    block.key_group,
                    decode::to_json_or_base64(key),
                    decode::to_json_or_base64(value),
                )?;
            }
        }
        Ok(())
    }
}

/// Bytes of a state in its files.
fn state_bytes(state: &StateEntry) -> u64 {
    state.blocks.iter().map(|block| block.len).sum()
}
