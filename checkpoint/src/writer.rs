//! A checkpoint that is being written.

use crate::catalog::Catalog;
use crate::error::{CheckpointError, Result};
use crate::format::{BLOCK_HEADER_LEN, FORMAT_VERSION};
use crate::manifest::document::{Batch, FileEntry, Manifest, StateEntry};
use crate::manifest::files::lost_state_file;
use crate::manifest::read::read_manifest;
use crate::options::Options;
use crate::state_file::{Block, StateFile};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::names::{MAX_PART, StateName, manifest_name};
use std::io;

/// What a checkpoint is taken of.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// The log that `lsn` is a position in.
    pub log_id: u128,
    /// Name of the application.
    pub application: String,
    /// The time now, in milliseconds since the Unix epoch. For people only.
    pub created_ms: u64,
    /// The last batch whose effects are in the checkpoint.
    pub batch: Batch,
    /// Where replay begins: everything below is in the checkpoint.
    pub lsn: u64,
    /// What the engine wants to remember: configuration, operators, source offsets, incomplete
    /// batches.
    pub metadata: serde_json::Value,
    /// The states; blocks can be added for these only.
    pub states: Vec<StateMeta>,
}

/// A state of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMeta {
    /// Its name, unique in the checkpoint.
    pub name: String,
    /// What kind of state it is, in the engine's words.
    pub kind: String,
    /// How its entries are encoded, in the engine's words.
    pub codec: String,
    /// What its keys and values are, in the engine's words (type names).
    pub fingerprint: String,
}

/// A checkpoint that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its number.
    pub number: u64,
    /// Where replay from it begins.
    pub lsn: u64,
    /// Length of all its files, in bytes.
    pub bytes: u64,
    /// How many files it has, the manifest included.
    pub files: usize,
}

/// A checkpoint that is being written; see [`Checkpoints::begin`](crate::Checkpoints::begin).
/// Dropping it abandons the attempt. A later [`Checkpoints::retire`](crate::Checkpoints::retire) or
/// [`Checkpoints::open`](crate::Checkpoints::open) removes what it has written.
#[derive(Debug)]
pub struct CheckpointWriter<'a> {
    catalog: &'a mut Catalog,
    manifest: Manifest,
    file: StateFile,
    max_file_bytes: u64,
    /// A state file could not be written: the checkpoint is incomplete for good.
    failed: bool,
}

impl<'a> CheckpointWriter<'a> {
    pub(crate) fn new(
        catalog: &'a mut Catalog,
        options: &Options,
        generation: u64,
        number: u64,
        attempt: u64,
        meta: Meta,
    ) -> Result<Self> {
        let states = meta.states.into_iter().map(|s| StateEntry {
            name: s.name,
            kind: s.kind,
            codec: s.codec,
            fingerprint: s.fingerprint,
            entries: 0,
            blocks: Vec::new(),
        });
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            number,
            previous: catalog.last_number(),
            writer: options.writer,
            generation,
            attempt,
            log_id: meta.log_id,
            application: meta.application,
            created_ms: meta.created_ms,
            batch: meta.batch,
            lsn: meta.lsn,
            chain: vec![number],
            metadata: meta.metadata,
            files: Vec::new(),
            states: states.collect(),
        };
        // Finds duplicate names and unreadable metadata before anything is written.
        manifest.encode()?;
        let name = StateName {
            number,
            attempt,
            part: 0,
        };
        Ok(Self {
            catalog,
            manifest,
            file: StateFile::new(meta.log_id, name),
            max_file_bytes: options.state_file_bytes,
            failed: false,
        })
    }

    /// The number that the checkpoint will have.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.manifest.number
    }

    /// Adds the state of one key group. Key groups come in any order, each once; empty ones may be
    /// left out. When a state file is full it is written, so this may take a while.
    ///
    /// # Errors
    /// [`CheckpointError::Misuse`] for a state that [`Meta::states`] lacks, or a key group that was
    /// added before; [`CheckpointError::Io`], after which this writer is of no further use.
    pub fn add_block(
        &mut self,
        state: &str,
        key_group: u32,
        entries: u64,
        bytes: &[u8],
    ) -> Result<()> {
        let (index, at) = self.place_for(state, key_group)?;
        let end = self.file.len() + BLOCK_HEADER_LEN + bytes.len() as u64;
        if end > self.max_file_bytes && !self.file.is_empty() {
            self.write_file()?;
        }
        let state_index = u32::try_from(index).map_err(|_| self.misuse("too many states"))?;
        let entry = self.file.push(Block {
            state_index,
            key_group,
            entries,
            payload: bytes,
        });
        if let Some(state) = self.manifest.states.get_mut(index) {
            state.entries = state.entries.saturating_add(entries);
            state.blocks.insert(at, entry);
        }
        Ok(())
    }

    /// Writes what is left and then the manifest. When this returns `Ok`, the checkpoint survives a
    /// power cut.
    ///
    /// # Errors
    /// [`CheckpointError::Fenced`] if another writer has published this number: stop.
    /// [`CheckpointError::Io`]: every earlier checkpoint is as it was; begin again, later.
    pub fn publish(mut self) -> Result<Published> {
        if !self.file.is_empty() {
            self.write_file()?;
        }
        if self.failed {
            return Err(self.misuse("one of its state files could not be written"));
        }
        let Self {
            catalog, manifest, ..
        } = self;
        let store = &**catalog.store();
        let bytes = manifest.encode()?;
        let name = manifest_name(manifest.number);
        // Another program may have removed them since: then this is no checkpoint, and the next
        // attempt writes all of it again.
        if let Some(reason) = lost_state_file(store, &manifest)? {
            let gone = io::Error::new(io::ErrorKind::NotFound, reason);
            return Err(CheckpointError::io("publish", name, gone));
        }
        if let Err(e) = put_or_find(store, &name, &bytes) {
            let error = match e.kind() {
                // Nothing was published, and the number is free.
                _ if e.is_determinate() => return Err(CheckpointError::io("write", name, e)),
                io::ErrorKind::AlreadyExists => taken(store, &manifest, e),
                _ => CheckpointError::io("write", name, e),
            };
            catalog.publication_in_doubt(manifest.number);
            return Err(match error {
                CheckpointError::Fenced { number, writer } => catalog.fence(number, writer),
                error => error,
            });
        }
        let published = Published {
            number: manifest.number,
            lsn: manifest.lsn,
            bytes: manifest.state_bytes().saturating_add(bytes.len() as u64),
            files: manifest.files.len() + 1,
        };
        catalog.published(manifest);
        tracing::info!(
            number = published.number,
            lsn = published.lsn,
            bytes = published.bytes,
            "checkpoint published"
        );
        Ok(published)
    }

    /// The index of the state, and where among its blocks the key group belongs.
    fn place_for(&self, state: &str, key_group: u32) -> Result<(usize, usize)> {
        if self.failed {
            return Err(self.misuse("one of its state files could not be written"));
        }
        let Some((index, entry)) = self.manifest.state(state) else {
            return Err(self.misuse(&format!("state {state:?} was not announced")));
        };
        match entry
            .blocks
            .binary_search_by_key(&key_group, |b| b.key_group)
        {
            Err(at) => Ok((index, at)),
            Ok(_) => Err(self.misuse(&format!(
                "state {state:?} has key group {key_group} already"
            ))),
        }
    }

    /// Makes the current state file durable and begins the next.
    fn write_file(&mut self) -> Result<()> {
        let name = self.file.name();
        if name.part >= MAX_PART {
            return Err(self.misuse("too many state files; make them larger"));
        }
        let next = StateName {
            part: name.part + 1,
            ..name
        };
        let next = StateFile::new(self.manifest.log_id, next);
        let full = std::mem::replace(&mut self.file, next);
        let name = full.name().to_string();
        self.failed = true;
        put_or_find(&**self.catalog.store(), &name, full.bytes())
            .map_err(|e| CheckpointError::io("write", name.clone(), e))?;
        self.failed = false;
        let blake3 = blake3::hash(full.bytes()).to_hex().to_string();
        self.manifest.files.push(FileEntry {
            name,
            size: full.len(),
            blake3,
        });
        Ok(())
    }

    fn misuse(&self, what: &str) -> CheckpointError {
        CheckpointError::Misuse {
            number: self.manifest.number,
            what: what.to_owned(),
        }
    }
}

/// Creates a file. If the answer to a successful creation was lost, the store reports "exists" when
/// asked again: a file with exactly our bytes is ours.
fn put_or_find(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    match store.put_new(name, bytes) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            match store.get(name, bytes.len() as u64) {
                Ok(found) if found == bytes => Ok(()),
                _ => Err(e),
            }
        }
        result => result,
    }
}

/// The number is taken: which writer took it?
fn taken(store: &dyn Store, manifest: &Manifest, e: StoreError) -> CheckpointError {
    let number = manifest.number;
    match read_manifest(store, number) {
        Err(error) => error,
        Ok(Some(Ok(found))) if found.writer != manifest.writer => CheckpointError::Fenced {
            number,
            writer: found.writer,
        },
        // An earlier attempt of this process arrived late, or nothing is known: the next attempt
        // finds out.
        Ok(_) => CheckpointError::io("write", manifest_name(number), e),
    }
}
