//! What this process knows about the checkpoints of a store.

use crate::error::{CheckpointError, Result};
use crate::manifest::document::Manifest;
use crate::manifest::files::{missing_file, sizes};
use crate::manifest::read::{numbers, read_manifest};
use crate::store::{Store, StoredFile};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every manifest of a store, and the publication of this process that may have failed.
#[derive(Debug)]
pub(crate) struct Catalog {
    store: Arc<dyn Store>,
    by_number: BTreeMap<u64, Known>,
    /// A number of ours whose publication failed: its manifest may be there or not.
    in_doubt: Option<u64>,
}

/// What is known about a manifest.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// Nothing is wrong with it, as far as it was read.
    Usable(Arc<Manifest>),
    /// It cannot be used, and why.
    Unusable(String),
}

impl Known {
    pub(crate) fn usable(&self) -> Option<&Arc<Manifest>> {
        match self {
            Self::Usable(manifest) => Some(manifest),
            Self::Unusable(_) => None,
        }
    }
}

impl Catalog {
    /// Reads every listed manifest, and those after the last one that a stale listing may lack.
    pub(crate) fn read(store: Arc<dyn Store>, listing: &[StoredFile]) -> Result<Self> {
        let sizes = sizes(listing);
        let mut by_number = BTreeMap::new();
        for number in numbers(listing) {
            if let Some(read) = read_manifest(&*store, number)? {
                by_number.insert(number, judge(read, &sizes));
            }
        }
        let mut next = by_number.keys().next_back().map_or(1, |n| n + 1);
        while let Some(read) = read_manifest(&*store, next)? {
            by_number.insert(
                next,
                read.map_or_else(Known::Unusable, |m| Known::Usable(Arc::new(m))),
            );
            next += 1;
        }
        Ok(Self {
            store,
            by_number,
            in_doubt: None,
        })
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn by_number(&self) -> &BTreeMap<u64, Known> {
        &self.by_number
    }

    /// The highest number in the store, usable or not.
    pub(crate) fn last_number(&self) -> Option<u64> {
        self.by_number.keys().next_back().copied()
    }

    /// The manifests with which nothing is known to be wrong, ascending by number.
    pub(crate) fn usable(&self) -> impl DoubleEndedIterator<Item = &Arc<Manifest>> {
        self.by_number.values().filter_map(Known::usable)
    }

    pub(crate) fn mark_unusable(&mut self, number: u64, reason: String) {
        self.by_number.insert(number, Known::Unusable(reason));
    }

    pub(crate) fn forget(&mut self, numbers: &[u64]) {
        self.by_number.retain(|n, _| !numbers.contains(n));
    }

    pub(crate) fn published(&mut self, manifest: Manifest) {
        self.by_number
            .insert(manifest.number, Known::Usable(Arc::new(manifest)));
    }

    pub(crate) fn publication_in_doubt(&mut self, number: u64) {
        self.in_doubt = Some(number);
    }

    /// After a failed publication of `writer`: is the manifest there? If it is ours, it counts as
    /// there but not as retained, because its durability was never confirmed.
    pub(crate) fn resolve_doubt(&mut self, writer: u64) -> Result<()> {
        let Some(number) = self.in_doubt else {
            return Ok(());
        };
        match read_manifest(&*self.store, number)? {
            None => {}
            Some(Ok(manifest)) if manifest.writer != writer => {
                return Err(CheckpointError::Fenced {
                    number,
                    writer: manifest.writer,
                });
            }
            Some(Ok(_)) => {
                let reason = "its publication was never confirmed".to_owned();
                self.mark_unusable(number, reason);
            }
            Some(Err(reason)) => self.mark_unusable(number, reason),
        }
        self.in_doubt = None;
        Ok(())
    }

    pub(crate) fn delete(&self, names: &[String]) -> Result<()> {
        self.store.delete(names).map_err(|e| {
            let first = names.first().map_or("", String::as_str);
            let name = format!("{first} and {} more", names.len().saturating_sub(1));
            CheckpointError::io("remove", name, e)
        })
    }
}

/// A first look, without reading state files: are they there, and as long as they should be?
fn judge(read: Result<Manifest, String>, sizes: &BTreeMap<&str, u64>) -> Known {
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(reason) => return Known::Unusable(reason),
    };
    match missing_file(&manifest, sizes) {
        Some(reason) => Known::Unusable(reason),
        None => Known::Usable(Arc::new(manifest)),
    }
}
