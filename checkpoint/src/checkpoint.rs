//! One checkpoint, to read from.

use crate::chains::{Chains, read_whole};
use crate::error::{CheckpointError, Result, Skipped};
use crate::manifest::document::{FileEntry, Manifest, StateEntry};
use crate::reading::pieces::Pieces;
use crate::store::Store;
use std::sync::{Arc, OnceLock};

/// A checkpoint that can be read. Cheap to clone; several threads may read different key groups at
/// once.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    files: Arc<Pieces>,
    manifest: Arc<Manifest>,
    skipped: Vec<Skipped>,
    chains: Arc<OnceLock<Arc<Chains>>>,
}

/// What a checkpoint stores of a key group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredGroup {
    /// Its number.
    pub key_group: u32,
    /// How many blocks it has: a base, and what has changed since, piece by piece.
    pub blocks: usize,
    /// Their length in the files, in bytes.
    pub bytes: u64,
}

/// The entries of a key group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupEntries {
    /// How many there are.
    pub entries: u64,
    /// Each with its key and its value, as [`entries`](crate::entries::entries) reads them.
    pub bytes: Vec<u8>,
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
            files: Arc::new(Pieces::new(store, &manifest.files)),
            manifest,
            skipped,
            chains: Arc::default(),
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

    /// The key groups of a state that were ever written, ascending, and what is stored of each.
    /// None if there is no such state.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if a file has no index, or the files do not hold together;
    /// [`CheckpointError::Io`].
    pub fn groups(&self, state: &str) -> Result<Vec<StoredGroup>> {
        let Some(state) = self.manifest.state(state) else {
            return Ok(Vec::new());
        };
        let groups = self.chains()?.of_state(state.id);
        Ok(groups
            .map(|(key_group, chain)| StoredGroup {
                key_group,
                blocks: chain.len(),
                bytes: chain.iter().map(|placed| placed.block.info.len).sum(),
            })
            .collect())
    }

    /// The entries of one key group of one state: a base, and what has changed since, put together;
    /// `None` if it was never written.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if its blocks are not what was written;
    /// [`CheckpointError::Io`].
    pub fn read_group(&self, state: &str, key_group: u32) -> Result<Option<GroupEntries>> {
        let Some(state) = self.manifest.state(state) else {
            return Ok(None);
        };
        let chain = self.chains()?.get((state.id, key_group));
        let whole = read_whole(&*self.files, self.manifest.log_id, chain)?;
        Ok(whole.map(|payload| GroupEntries {
            entries: payload.entries,
            bytes: payload.bytes,
        }))
    }

    /// Where it was read from.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.files.store()
    }

    /// Length of the entries of a state before they were packed, in bytes; with older versions of
    /// entries that later blocks replace.
    pub(crate) fn raw_len(&self, state: &StateEntry) -> Result<u64> {
        let chains = self.chains()?.of_state(state.id);
        let blocks = chains.flat_map(|(_, chain)| chain);
        Ok(blocks.fold(0, |sum: u64, placed| {
            sum.saturating_add(placed.block.info.raw_len)
        }))
    }

    /// Where the blocks are; read at the first call.
    pub(crate) fn chains(&self) -> Result<&Arc<Chains>> {
        if let Some(chains) = self.chains.get() {
            return Ok(chains);
        }
        let read = Arc::new(Chains::read(&*self.files, &self.manifest)?);
        Ok(self.chains.get_or_init(|| read))
    }

    /// Reads every state file once, in bounded memory ([`Reading`](crate::Reading)), and compares
    /// its length and hash.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] for the first file that is missing or has changed;
    /// [`CheckpointError::Io`].
    pub fn verify(&self) -> Result<()> {
        self.files.verify(&self.manifest.files)
    }

    /// Lets go of what is held of its files.
    pub(crate) fn forget_bytes(&self) {
        self.files.forget();
    }

    /// As [`Self::verify`], for one file.
    pub(crate) fn verify_file(&self, entry: &FileEntry) -> Result<()> {
        self.files.verify(std::slice::from_ref(entry))
    }
}
