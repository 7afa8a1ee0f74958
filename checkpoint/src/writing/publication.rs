//! Publication: the manifest is written, last and once.

use crate::catalog::Catalog;
use crate::error::{CheckpointError, Result};
use crate::manifest::document::Manifest;
use crate::manifest::files::{lost_own_file, lost_state_file, missing_file, sizes};
use crate::manifest::read::{list, read_manifest};
use crate::retention::losses::notice_losses;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::names::manifest_name;
use crate::writing::put::put_or_find;
use std::io;
use std::sync::Arc;

/// Whether files are lost that the checkpoint needs. Those of earlier ones are looked for in a
/// listing; the store itself is asked where one lacks them.
fn find_losses(catalog: &mut Catalog, manifest: &Manifest) -> Result<Option<String>> {
    let store = Arc::clone(catalog.store());
    let lost = lost_own_file(&*store, manifest)?;
    if lost.is_some() || manifest.chain.len() == 1 {
        return Ok(lost);
    }
    let listing = list(&*store)?;
    notice_losses(catalog, &listing)?;
    match missing_file(manifest, &sizes(&listing)) {
        Some(_) => lost_state_file(&*store, manifest),
        None => Ok(None),
    }
}

/// Makes the checkpoint exist. The length of the manifest.
pub(crate) fn publish_manifest(catalog: &mut Catalog, manifest: &Manifest) -> Result<u64> {
    let store = Arc::clone(catalog.store());
    let bytes = manifest.encode()?;
    let name = manifest_name(manifest.number);
    // Another program may have removed them since: then this is no checkpoint, and the next
    // attempt writes all of it again.
    if let Some(reason) = find_losses(catalog, manifest)? {
        let gone = io::Error::new(io::ErrorKind::NotFound, reason);
        return Err(CheckpointError::io("publish", name, gone));
    }
    if let Err(e) = put_or_find(&*store, &name, &bytes) {
        let error = match e.kind() {
            // Nothing was published, and the number is free.
            _ if e.is_determinate() => return Err(CheckpointError::io("write", name, e)),
            io::ErrorKind::AlreadyExists => taken(&*store, manifest, e),
            _ => CheckpointError::io("write", name, e),
        };
        catalog.publication_in_doubt(manifest.number);
        return Err(match error {
            CheckpointError::Fenced { number, writer } => catalog.fence(number, writer),
            error => error,
        });
    }
    Ok(bytes.len() as u64)
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
