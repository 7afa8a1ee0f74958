//! What crashed and failed attempts leave, and when it may be removed.

use crate::catalog::{Catalog, Known};
use crate::error::Result;
use crate::manifest::read::read_manifest;
use crate::options::Ownership;
use crate::store::StoredFile;
use crate::store::names::Name;

/// Removes the files of a listing that belong to no checkpoint.
pub(crate) fn collect(
    catalog: &Catalog,
    listing: &[StoredFile],
    ownership: Ownership,
) -> Result<()> {
    let mut names = Vec::new();
    for file in listing {
        if is_garbage(catalog, &file.name, ownership)? {
            names.push(file.name.clone());
        }
    }
    if names.is_empty() {
        Ok(())
    } else {
        catalog.delete(&names)
    }
}

/// Whether the file `name` belongs to no checkpoint. Files that are not ours are left alone.
fn is_garbage(catalog: &Catalog, name: &str, ownership: Ownership) -> Result<bool> {
    let state = match Name::parse(name) {
        Name::Temporary => return Ok(true),
        Name::State(state) => state,
        Name::Manifest { .. } => return Ok(false),
        Name::Unknown => {
            tracing::debug!(name, "not a file of a checkpoint, left alone");
            return Ok(false);
        }
    };
    match catalog.by_number().get(&state.number) {
        Some(Known::Usable(manifest)) => Ok(manifest.attempt != state.attempt),
        // The attempt of an unreadable manifest is not known: the files stay as long as it does.
        Some(Known::Unusable(_)) => Ok(false),
        None => {
            let newest = catalog.last_number().unwrap_or(0);
            let may_go = state.number < newest || ownership == Ownership::Sole;
            // The listing may be older than the manifest: only the store itself knows.
            Ok(may_go && read_manifest(&**catalog.store(), state.number)?.is_none())
        }
    }
}
