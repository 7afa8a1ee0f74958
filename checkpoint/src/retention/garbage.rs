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
    // Later checkpoints may name it too. What a manifest that cannot be read names is not known:
    // files that it may name stay as long as it does.
    let mut later = catalog.by_number().range(state.number..);
    let may_be_named = later.any(|(_, known)| match known {
        Known::Usable(manifest) => manifest.files.iter().any(|file| file.name == name),
        Known::Unusable(_) => true,
    });
    if may_be_named {
        return Ok(false);
    }
    let newest = catalog.last_number().unwrap_or(0);
    if catalog.by_number().contains_key(&state.number) {
        return Ok(true); // its own checkpoint is there without it
    }
    let may_go = state.number < newest || ownership == Ownership::Sole;
    // The listing may be older than the manifest: only the store itself knows.
    Ok(may_go && read_manifest(&**catalog.store(), state.number)?.is_none())
}
