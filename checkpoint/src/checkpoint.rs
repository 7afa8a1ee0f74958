//! One checkpoint, to read from.

use crate::error::{CheckpointError, Result, Skipped};
use crate::format::BLOCK_HEADER_LEN;
use crate::manifest::document::{FileEntry, Manifest, StateEntry};
use crate::state_file::open_block;
use crate::store::Store;
use crate::store::names::StateName;
use std::io;
use std::sync::Arc;

/// How much of a state file is held in memory while it is verified, in bytes.
const VERIFY_CHUNK: u64 = 1 << 20;

/// A checkpoint that can be read. Cheap to clone; several threads may read different key groups at
/// once.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    store: Arc<dyn Store>,
    manifest: Arc<Manifest>,
    skipped: Vec<Skipped>,
}

/// What a log covers, for [`Checkpoint::check_log`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// Its id.
    pub log_id: u128,
    /// The first LSN that it still has.
    pub first_lsn: u64,
    /// The LSN after its last record.
    pub end_lsn: u64,
}

impl Checkpoint {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        manifest: Arc<Manifest>,
        skipped: Vec<Skipped>,
    ) -> Self {
        Self {
            store,
            manifest,
            skipped,
        }
    }

    /// A checkpoint found by [`Checkpoints::inspect`](crate::Checkpoints::inspect), for tools that
    /// only read: the store is neither prepared nor cleaned. Nothing but the manifest was checked;
    /// every block is, when it is read.
    #[must_use]
    pub fn of_manifest(store: Arc<dyn Store>, manifest: Manifest) -> Self {
        Self::new(store, Arc::new(manifest), Vec::new())
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.manifest.number
    }

    /// Where replay begins.
    #[must_use]
    pub fn lsn(&self) -> u64 {
        self.manifest.lsn
    }

    /// Everything that is known about it.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its states.
    #[must_use]
    pub fn states(&self) -> &[StateEntry] {
        &self.manifest.states
    }

    /// Newer checkpoints that could not be used, newest first. An operator should know.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Refuses a checkpoint that does not belong to the log: it is another log's, or its LSN lies
    /// before the log's start or past its end.
    ///
    /// # Errors
    /// [`CheckpointError::OtherLog`], [`CheckpointError::BeforeLog`],
    /// [`CheckpointError::AfterLog`].
    pub fn check_log(&self, log: &LogBounds) -> Result<()> {
        let Manifest {
            number,
            log_id,
            lsn,
            ..
        } = *self.manifest;
        if log_id != log.log_id {
            return Err(CheckpointError::OtherLog {
                number,
                checkpoint_log: log_id,
                log: log.log_id,
            });
        }
        if lsn < log.first_lsn {
            let skipped = self.skipped.clone();
            return Err(CheckpointError::BeforeLog {
                number,
                lsn,
                first_lsn: log.first_lsn,
                skipped,
            });
        }
        if lsn > log.end_lsn {
            return Err(CheckpointError::AfterLog {
                number,
                lsn,
                end_lsn: log.end_lsn,
            });
        }
        Ok(())
    }

    /// The bytes of one key group of one state, exactly as they were added; `None` if none were.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if they are not what was written; [`CheckpointError::Io`].
    pub fn read_block(&self, state: &str, key_group: u32) -> Result<Option<Vec<u8>>> {
        let Some((index, state)) = self.manifest.state(state) else {
            return Ok(None);
        };
        let Ok(at) = state
            .blocks
            .binary_search_by_key(&key_group, |b| b.key_group)
        else {
            return Ok(None);
        };
        let Some(entry) = state.blocks.get(at) else {
            return Ok(None);
        };
        let Manifest {
            number,
            attempt,
            log_id,
            ..
        } = *self.manifest;
        let name = StateName {
            number,
            attempt,
            part: entry.file,
        };
        let file = name.to_string();
        let len = BLOCK_HEADER_LEN.saturating_add(entry.len);
        let bytes = self
            .store
            .get_range(&file, entry.offset, len)
            .map_err(|e| lost(&file, entry.offset, e))?;
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        open_block(log_id, name, index, entry, bytes).map(Some)
    }

    /// Reads every state file once, in bounded memory, and compares its length and hash.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] for the first file that is missing or has changed;
    /// [`CheckpointError::Io`].
    pub fn verify(&self) -> Result<()> {
        self.manifest
            .files
            .iter()
            .try_for_each(|f| self.verify_file(f))
    }

    fn verify_file(&self, entry: &FileEntry) -> Result<()> {
        let name = entry.name.as_str();
        let size = self.store.len(name).map_err(|e| lost(name, 0, e))?;
        if size != entry.size {
            let what = format!("it has {size} bytes, {} were written", entry.size);
            return Err(CheckpointError::damaged(name, None, what));
        }
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < size {
            let len = VERIFY_CHUNK.min(size - offset);
            let bytes = self
                .store
                .get_range(name, offset, len)
                .map_err(|e| lost(name, offset, e))?;
            hasher.update(&bytes);
            offset += len;
        }
        if hasher.finalize().to_hex().as_str() == entry.blake3 {
            return Ok(());
        }
        Err(CheckpointError::damaged(
            name,
            None,
            "its content has changed (the hash does not match)",
        ))
    }
}

/// A file that is missing or short is damage. Any other failure may pass, and is never taken for
/// damage: otherwise a short failure of the store would make an older checkpoint the newest.
fn lost(name: &str, offset: u64, e: io::Error) -> CheckpointError {
    match e.kind() {
        io::ErrorKind::NotFound => CheckpointError::damaged(name, None, "the file is missing"),
        io::ErrorKind::UnexpectedEof => {
            CheckpointError::damaged(name, Some(offset), "the file ends too soon")
        }
        _ => CheckpointError::io("read", name, e),
    }
}
