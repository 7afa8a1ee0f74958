//! What crashed and failed attempts leave, and when it may be removed.

use crate::catalog::{Catalog, Known};
use crate::error::Result;
use crate::manifest::read::read_manifest;
use crate::options::Ownership;
use crate::store::StoredFile;
use crate::store::names::Name;
use std::collections::BTreeMap;

/// Removes the files of a listing that belong to no checkpoint.
pub(crate) fn collect(
    catalog: &Catalog,
    listing: &[StoredFile],
    ownership: Ownership,
) -> Result<()> {
    let mut names = Vec::new();
    for candidate in find(listing, catalog.by_number(), ownership) {
        // The listing may be older than the manifest: only the store itself knows.
        let needed = match candidate.unless_manifest {
            Some(number) => read_manifest(&**catalog.store(), number)?.is_some(),
            None => false,
        };
        if !needed {
            names.push(candidate.name);
        }
    }
    if names.is_empty() {
        Ok(())
    } else {
        catalog.delete(&names)
    }
}

/// A file that no checkpoint needs.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    name: String,
    /// It may be removed only if the store still has no manifest of this number.
    unless_manifest: Option<u64>,
}

/// The files of a listing that belong to no checkpoint. Files that are not ours are left alone.
fn find(
    listing: &[StoredFile],
    known: &BTreeMap<u64, Known>,
    ownership: Ownership,
) -> Vec<Candidate> {
    let newest = known.keys().next_back().copied().unwrap_or(0);
    let mut found = Vec::new();
    for file in listing {
        let name = file.name.clone();
        match Name::parse(&name) {
            Name::Temporary => found.push(Candidate {
                name,
                unless_manifest: None,
            }),
            Name::State(state) => match known.get(&state.number) {
                Some(Known::Usable(manifest)) if manifest.attempt != state.attempt => {
                    found.push(Candidate {
                        name,
                        unless_manifest: None,
                    });
                }
                // The attempt of an unreadable manifest is not known: the files stay as long as the
                // manifest does.
                Some(Known::Usable(_) | Known::Unusable(_)) => {}
                None if state.number < newest || ownership == Ownership::Sole => {
                    found.push(Candidate {
                        name,
                        unless_manifest: Some(state.number),
                    });
                }
                None => {}
            },
            Name::Manifest { .. } => {}
            Name::Unknown => tracing::debug!(name, "not a file of a checkpoint, left alone"),
        }
    }
    found
}
