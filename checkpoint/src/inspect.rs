//! Looking at checkpoints without touching them.

use crate::checkpoint::Checkpoint;
use crate::error::{CheckpointError, Result};
use crate::manifest::document::Manifest;
use crate::manifest::read::{list, numbers, read_manifest};
use crate::store::Store;
use crate::store::names::manifest_name;
use serde::Serialize;
use std::io;
use std::sync::Arc;

/// A checkpoint as [`crate::Checkpoints::inspect`] found it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspected {
    /// Its number.
    pub number: u64,
    /// Whether it could be used.
    pub validity: Validity,
    /// Its manifest, if that could be read.
    pub manifest: Option<Manifest>,
}

/// Whether a checkpoint can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "reason")]
pub enum Validity {
    /// Every file is there and has the bytes that were written.
    Valid,
    /// Something is missing or has changed.
    Damaged(String),
    /// A newer version of Highwater wrote it.
    NewerFormat(String),
}

pub(crate) fn inspect(store: &Arc<dyn Store>) -> Result<Vec<Inspected>> {
    let listing = list(&**store)?;
    let mut numbers: Vec<u64> = numbers(&listing).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let mut found = Vec::new();
    for number in numbers {
        found.extend(inspect_one(store, number)?);
    }
    Ok(found)
}

/// `None` if the checkpoint was retired by a running engine while it was being looked at.
fn inspect_one(store: &Arc<dyn Store>, number: u64) -> Result<Option<Inspected>> {
    let read = match read_manifest(&**store, number) {
        Ok(None) => return Ok(None),
        Ok(Some(read)) => read,
        Err(e @ CheckpointError::NewerFormat { .. }) => {
            let validity = Validity::NewerFormat(e.to_string());
            return Ok(Some(Inspected {
                number,
                validity,
                manifest: None,
            }));
        }
        Err(e) => return Err(e),
    };
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(reason) => {
            let validity = Validity::Damaged(reason);
            return Ok(Some(Inspected {
                number,
                validity,
                manifest: None,
            }));
        }
    };
    let manifest = Arc::new(manifest);
    let checkpoint = Checkpoint::new(Arc::clone(store), Arc::clone(&manifest), Vec::new());
    let validity = match checkpoint.verify() {
        Ok(()) => Validity::Valid,
        // Manifests go before their files: if it is gone now, nothing was wrong.
        Err(_) if is_gone(&**store, number) => return Ok(None),
        Err(e) => Validity::Damaged(e.damage().ok_or(e)?),
    };
    let manifest = Some(Arc::unwrap_or_clone(manifest));
    Ok(Some(Inspected {
        number,
        validity,
        manifest,
    }))
}

fn is_gone(store: &dyn Store, number: u64) -> bool {
    store
        .len(&manifest_name(number))
        .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}
