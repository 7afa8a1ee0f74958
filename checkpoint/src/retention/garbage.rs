//! What crashed and failed attempts leave behind, and when it may go.

use crate::checkpoints::{Known, Ownership};
use crate::store::StoredFile;
use crate::store::names::Name;
use std::collections::BTreeMap;

/// A file that nobody needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    /// It may be removed only if the store still has no manifest of this number.
    pub(crate) unless_manifest: Option<u64>,
}

/// The files of a listing that belong to no checkpoint. Files of other people are none of ours.
pub(crate) fn find(
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
                Some(Known::Sound(manifest)) if manifest.attempt != state.attempt => {
                    found.push(Candidate {
                        name,
                        unless_manifest: None,
                    });
                }
                // Which attempt an unreadable manifest stands for is not known: its files stay as
                // long as it does.
                Some(Known::Sound(_) | Known::Unsound(_)) => {}
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
