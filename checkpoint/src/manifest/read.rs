//! Reading manifests out of a store.

use crate::error::{CheckpointError, Result};
use crate::format::MAX_MANIFEST_BYTES;
use crate::manifest::document::Manifest;
use crate::store::names::{Name, manifest_name};
use crate::store::{Store, StoredFile};
use std::io;

/// Every file of the store.
pub(crate) fn list(store: &dyn Store) -> Result<Vec<StoredFile>> {
    store
        .list()
        .map_err(|e| CheckpointError::io("list", store.place(), e))
}

/// The numbers of the manifests in a listing.
pub(crate) fn numbers(listing: &[StoredFile]) -> impl Iterator<Item = u64> {
    listing.iter().filter_map(|f| match Name::parse(&f.name) {
        Name::Manifest { number } => Some(number),
        _ => None,
    })
}

/// A manifest: `None` if there is none, `Some(Err)` with the finding if it is damaged.
pub(crate) fn read_manifest(
    store: &dyn Store,
    number: u64,
) -> Result<Option<Result<Manifest, String>>> {
    let name = manifest_name(number);
    let bytes = match store.get(&name, MAX_MANIFEST_BYTES) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            return Ok(Some(Err(format!("{name}: {e}"))));
        }
        Err(e) => return Err(CheckpointError::io("read", name, e)),
    };
    match Manifest::decode(number, &bytes) {
        Ok(manifest) => Ok(Some(Ok(manifest))),
        Err(e) => Ok(Some(Err(e.damage().ok_or(e)?))),
    }
}
