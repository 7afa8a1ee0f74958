//! What the newest checkpoints need, and what they do not.

use crate::error::Result;
use crate::inspect::{Inspected, Validity};
use crate::manifest::read::list;
use crate::store::names::{Name, manifest_name};
use crate::store::{Store, StoredFile};
use std::collections::BTreeSet;

/// What the newest valid checkpoints of a store need, and what they do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruning {
    /// The checkpoints that are kept, ascending.
    pub kept: Vec<u64>,
    /// The others, ascending: older ones, and those that are not valid.
    pub others: Vec<u64>,
    /// The files that are needed, manifests included.
    pub needed: Vec<StoredFile>,
    /// The other files of checkpoints, with what crashed attempts left. Files of other programs are
    /// not among them.
    pub unneeded: Vec<StoredFile>,
}

impl Pruning {
    /// What the newest `keep` valid ones of `found`, the checkpoints of `store`, need. Nothing is
    /// changed.
    ///
    /// # Errors
    /// [`CheckpointError::Io`](crate::CheckpointError::Io).
    pub fn of(store: &dyn Store, found: &[Inspected], keep: usize) -> Result<Self> {
        let valid = found.iter().filter(|c| c.validity == Validity::Valid);
        let mut newest: Vec<&Inspected> = valid.collect();
        newest.sort_by_key(|c| std::cmp::Reverse(c.number));
        newest.truncate(keep);
        let kept: BTreeSet<u64> = newest.iter().map(|c| c.number).collect();
        let manifests = newest.iter().filter_map(|c| c.manifest.as_ref());
        let files = manifests.flat_map(|m| m.files.iter().map(|file| file.name.clone()));
        let needed: BTreeSet<String> = files
            .chain(kept.iter().map(|number| manifest_name(*number)))
            .collect();
        let numbers: BTreeSet<u64> = found.iter().map(|c| c.number).collect();
        let mut listing = list(store)?;
        listing.retain(|file| Name::parse(&file.name) != Name::Unknown);
        listing.sort_by(|a, b| a.name.cmp(&b.name));
        let (needed, unneeded) = listing
            .into_iter()
            .partition(|file| needed.contains(&file.name));
        Ok(Self {
            others: numbers.difference(&kept).copied().collect(),
            kept: kept.into_iter().collect(),
            needed,
            unneeded,
        })
    }
}
