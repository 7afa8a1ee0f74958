//! Whether the files of a checkpoint are in the store, and as long as they were written. Looks at
//! lengths, not at bytes.

use crate::error::{CheckpointError, Result};
use crate::manifest::document::{FileEntry, Manifest};
use crate::manifest::read::read_manifest;
use crate::store::names::{StateName, manifest_name};
use crate::store::{Store, StoredFile};
use std::collections::BTreeMap;
use std::io;

/// The length of each file of a listing.
pub(crate) fn sizes(listing: &[StoredFile]) -> BTreeMap<&str, u64> {
    listing.iter().map(|f| (f.name.as_str(), f.size)).collect()
}

/// What is wrong with the first state file that is not there, or not as long as it should be.
pub(crate) fn missing_file(manifest: &Manifest, sizes: &BTreeMap<&str, u64>) -> Option<String> {
    let mut files = manifest.files.iter();
    files.find_map(|file| wrong_size(file, sizes.get(file.name.as_str()).copied()))
}

fn wrong_size(file: &FileEntry, found: Option<u64>) -> Option<String> {
    match found {
        Some(size) if size == file.size => None,
        Some(size) => Some(format!(
            "{}: it has {size} bytes, {} were written",
            file.name, file.size
        )),
        None => Some(format!("{}: the file is missing", file.name)),
    }
}

/// As [`missing_file`], by asking the store itself; the manifest counts too.
pub(crate) fn lost_file(store: &dyn Store, manifest: &Manifest) -> Result<Option<String>> {
    let name = manifest_name(manifest.number);
    if read_manifest(store, manifest.number)?.is_none() {
        return Ok(Some(format!("{name}: the file is missing")));
    }
    lost_state_file(store, manifest)
}

/// What is wrong with the first state file, by asking the store itself.
pub(crate) fn lost_state_file(store: &dyn Store, manifest: &Manifest) -> Result<Option<String>> {
    lost(store, manifest.files.iter())
}

/// As [`lost_state_file`], of the files that were written for this checkpoint alone.
pub(crate) fn lost_own_file(store: &dyn Store, manifest: &Manifest) -> Result<Option<String>> {
    let own = |file: &&FileEntry| {
        let name = StateName::parse(&file.name);
        name.is_some_and(|name| name.number == manifest.number)
    };
    lost(store, manifest.files.iter().filter(own))
}

fn lost<'a>(
    store: &dyn Store,
    files: impl Iterator<Item = &'a FileEntry>,
) -> Result<Option<String>> {
    for file in files {
        let found = match store.len(&file.name) {
            Ok(size) => Some(size),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(CheckpointError::io("find", file.name.clone(), e)),
        };
        if let Some(reason) = wrong_size(file, found) {
            return Ok(Some(reason));
        }
    }
    Ok(None)
}
