//! Checkpoints, copied into an empty store.

use crate::error::{CheckpointError, Result};
use crate::format::MAX_MANIFEST_BYTES;
use crate::manifest::document::{FileEntry, Manifest};
use crate::manifest::read::list;
use crate::state_file::index::lost;
use crate::store::Store;
use crate::store::names::manifest_name;
use crate::writing::put::put_or_find;
use std::collections::BTreeSet;
use std::io;

/// What was written into a new store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// How many files, manifests included.
    pub files: usize,
    /// Their length in bytes.
    pub bytes: u64,
}

/// Copies the checkpoints `numbers`, byte for byte, into the empty store `to`. Every file is
/// compared with its hash on the way. Manifests come last, the oldest first. So at every moment
/// each checkpoint that is there is there as a whole.
///
/// # Errors
/// [`CheckpointError::Damaged`] if a file is not what was written;
/// [`CheckpointError::NewerFormat`]; [`CheckpointError::Io`], also if `to` is not empty. After an
/// error `to` may hold some files.
pub fn copy_checkpoints(from: &dyn Store, numbers: &[u64], to: &dyn Store) -> Result<Copied> {
    let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
    let mut manifests = Vec::new();
    for number in numbers {
        let name = manifest_name(number);
        let bytes = from.get(&name, MAX_MANIFEST_BYTES);
        let bytes = bytes.map_err(|e| lost(&name, 0, e))?;
        manifests.push((Manifest::decode(number, &bytes)?, bytes));
    }
    begin(to)?;
    let mut copied = Copied { files: 0, bytes: 0 };
    let mut done = BTreeSet::new();
    for file in manifests.iter().flat_map(|(manifest, _)| &manifest.files) {
        if done.insert(file.name.clone()) {
            copy_file(from, file, to)?;
            copied.add(file.size);
        }
    }
    for (manifest, bytes) in &manifests {
        put(to, &manifest_name(manifest.number), bytes)?;
        copied.add(bytes.len() as u64);
    }
    Ok(copied)
}

impl Copied {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Makes the store ready, and refuses one in which there is something.
pub(crate) fn begin(to: &dyn Store) -> Result<()> {
    let failed = |e: io::Error| CheckpointError::io("prepare", to.place(), e);
    to.prepare().map_err(failed)?;
    match list(to)?.is_empty() {
        true => Ok(()),
        false => {
            let text = "it is not empty: name a new directory";
            let error = io::Error::new(io::ErrorKind::DirectoryNotEmpty, text);
            Err(CheckpointError::io("write into", to.place(), error))
        }
    }
}

/// Copies a state file; its bytes are those of its hash.
pub(crate) fn copy_file(from: &dyn Store, file: &FileEntry, to: &dyn Store) -> Result<()> {
    let bytes = from
        .get(&file.name, file.size)
        .map_err(|e| match e.kind() {
            io::ErrorKind::FileTooLarge => {
                CheckpointError::damaged(&file.name, None, e.to_string())
            }
            _ => lost(&file.name, 0, e),
        })?;
    let is_whole = bytes.len() as u64 == file.size;
    if !is_whole || blake3::hash(&bytes).to_hex().as_str() != file.blake3 {
        let what = "its content has changed (the hash does not match)";
        return Err(CheckpointError::damaged(&file.name, None, what));
    }
    put(to, &file.name, &bytes)
}

pub(crate) fn put(to: &dyn Store, name: &str, bytes: &[u8]) -> Result<()> {
    put_or_find(to, name, bytes).map_err(|e| CheckpointError::io("write", name, e))
}
