//! What this process knows about the checkpoints of a store.

use crate::chains::Chains;
use crate::error::{CheckpointError, Result};
use crate::manifest::document::Manifest;
use crate::manifest::files::{lost_state_file, missing_file, sizes};
use crate::manifest::read::{numbers, read_manifest};
use crate::store::error::StoreError;
use crate::store::names::{MAX_NUMBER, Name, manifest_name};
use crate::store::{Store, StoredFile};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many manifests in a row may have been moved away without hiding those before them from a
/// listing that lacks both.
const MAX_GAP: u32 = 3;

/// Every manifest of a store, and the publication of this process that may have failed.
#[derive(Debug)]
pub(crate) struct Catalog {
    store: Arc<dyn Store>,
    by_number: BTreeMap<u64, Known>,
    /// A number of ours whose publication failed: its manifest may be there or not.
    in_doubt: Option<u64>,
    /// Numbers whose removal failed: their manifests may be there or not.
    removal_in_doubt: Vec<u64>,
    /// The number that another writer has taken, and that writer: this one is fenced for good.
    fenced: Option<(u64, u64)>,
    /// Where the blocks of the newest published one are.
    newest_chains: Option<(u64, Arc<Chains>)>,
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
    /// Reads every listed manifest, and those that a stale listing may lack: after the last one,
    /// before each, and around the newest file.
    pub(crate) fn read(store: Arc<dyn Store>, listing: &[StoredFile]) -> Result<Self> {
        let sizes = sizes(listing);
        let mut by_number = BTreeMap::new();
        for number in numbers(listing) {
            if let Some(read) = read_manifest(&*store, number)? {
                by_number.insert(number, judge(&*store, read, &sizes)?);
            }
        }
        // Of a checkpoint whose manifest is not listed, other files may be.
        let hint = listing.iter().filter_map(|f| number_of(&f.name)).max();
        let known: Vec<u64> = by_number.keys().copied().collect();
        for number in known.into_iter().chain([hint.unwrap_or(1)]) {
            let up = number + u64::from(by_number.contains_key(&number));
            walk(&*store, &mut by_number, up..=MAX_NUMBER, &sizes)?;
            walk(&*store, &mut by_number, (1..number).rev(), &sizes)?;
        }
        Ok(Self {
            store,
            by_number,
            in_doubt: None,
            removal_in_doubt: Vec::new(),
            fenced: None,
            newest_chains: None,
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

    fn forget(&mut self, numbers: &[u64]) {
        self.by_number.retain(|n, _| !numbers.contains(n));
    }

    pub(crate) fn published(&mut self, manifest: Manifest, chains: Chains) {
        let number = manifest.number;
        self.newest_chains = Some((number, Arc::new(chains)));
        self.by_number
            .insert(number, Known::Usable(Arc::new(manifest)));
    }

    pub(crate) fn can_continue(&self, parent: u64) -> bool {
        let known = self.by_number.get(&parent).and_then(Known::usable);
        known.is_some_and(|manifest| manifest.format_version > 1)
    }

    /// The manifest of `parent` and where its blocks are, for checkpoint `number`, which is to name
    /// its files.
    pub(crate) fn to_continue(
        &self,
        number: u64,
        parent: u64,
    ) -> Result<(Arc<Manifest>, Arc<Chains>)> {
        let refused = |what: &str| {
            let what = what.to_owned();
            CheckpointError::CannotContinue {
                number,
                parent,
                what,
            }
        };
        let manifest = match self.by_number.get(&parent) {
            Some(Known::Usable(manifest)) => manifest,
            Some(Known::Unusable(reason)) => return Err(refused(reason)),
            None => return Err(refused("it is not in the store")),
        };
        if manifest.format_version == 1 {
            return Err(refused("its format 1 knows whole states only"));
        }
        let chains = match &self.newest_chains {
            Some((newest, chains)) if *newest == parent => Arc::clone(chains),
            _ => Arc::new(Chains::read(&*self.store, manifest)?),
        };
        Ok((Arc::clone(manifest), chains))
    }

    pub(crate) fn publication_in_doubt(&mut self, number: u64) {
        self.in_doubt = Some(number);
    }

    /// After a failed publication of `writer`: is the manifest there? If it is ours, it counts as
    /// there but not as retained, because its durability was never confirmed. After a failed
    /// removal: which manifests are gone?
    pub(crate) fn resolve_doubt(&mut self, writer: u64) -> Result<()> {
        if let Some((number, writer)) = self.fenced {
            return Err(CheckpointError::Fenced { number, writer });
        }
        self.resolve_removal()?;
        let Some(number) = self.in_doubt else {
            return Ok(());
        };
        match read_manifest(&*self.store, number)? {
            None => {}
            Some(Ok(manifest)) if manifest.writer != writer => {
                return Err(self.fence(number, manifest.writer));
            }
            Some(Ok(_)) => self.mark_unconfirmed(number),
            Some(Err(reason)) => self.mark_unusable(number, reason),
        }
        self.in_doubt = None;
        Ok(())
    }

    /// Another writer has taken over. That stays so, whatever a later listing shows.
    pub(crate) fn fence(&mut self, number: u64, writer: u64) -> CheckpointError {
        self.fenced = Some((number, writer));
        CheckpointError::Fenced { number, writer }
    }

    /// A manifest of this process whose publication failed, and that is there all the same.
    pub(crate) fn mark_unconfirmed(&mut self, number: u64) {
        let reason = "its publication was never confirmed".to_owned();
        self.mark_unusable(number, reason);
    }

    /// What this process has removed itself is not lost.
    fn resolve_removal(&mut self) -> Result<()> {
        while let Some(number) = self.removal_in_doubt.last().copied() {
            if read_manifest(&*self.store, number)?.is_none() {
                self.forget(&[number]);
            }
            self.removal_in_doubt.pop();
        }
        Ok(())
    }

    /// Removes checkpoints. Their state files go later, as leftovers.
    pub(crate) fn remove(&mut self, numbers: &[u64]) -> Result<()> {
        let names: Vec<String> = numbers.iter().map(|n| manifest_name(*n)).collect();
        if let Err(e) = self.store.delete(&names) {
            if !e.is_determinate() {
                self.removal_in_doubt = numbers.to_vec();
            }
            return Err(not_removed(&names, e));
        }
        self.forget(numbers);
        Ok(())
    }

    pub(crate) fn delete(&self, names: &[String]) -> Result<()> {
        self.store.delete(names).map_err(|e| not_removed(names, e))
    }
}

fn not_removed(names: &[String], e: StoreError) -> CheckpointError {
    let first = names.first().map_or("", String::as_str);
    let name = format!("{first} and {} more", names.len().saturating_sub(1));
    CheckpointError::io("remove", name, e)
}

/// Finds manifests that no listing has shown, from a known one on. Numbers ascend by one, so they
/// are asked for by name.
fn walk(
    store: &dyn Store,
    by_number: &mut BTreeMap<u64, Known>,
    numbers: impl Iterator<Item = u64>,
    sizes: &BTreeMap<&str, u64>,
) -> Result<()> {
    let mut absent = 0;
    for number in numbers {
        if absent == MAX_GAP || by_number.contains_key(&number) {
            break;
        }
        absent += 1;
        if let Some(read) = read_manifest(store, number)? {
            by_number.insert(number, judge(store, read, sizes)?);
            absent = 0;
        }
    }
    Ok(())
}

/// The checkpoint that a file was written for.
fn number_of(name: &str) -> Option<u64> {
    match Name::parse(name) {
        Name::Manifest { number } => Some(number),
        Name::State(state) => Some(state.number),
        Name::Temporary | Name::Unknown => None,
    }
}

/// A first look, without reading state files: are they there, and as long as they should be? The
/// listing may be older than they are: only the store itself knows.
fn judge(
    store: &dyn Store,
    read: Result<Manifest, String>,
    sizes: &BTreeMap<&str, u64>,
) -> Result<Known> {
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(reason) => return Ok(Known::Unusable(reason)),
    };
    let lost = match missing_file(&manifest, sizes) {
        Some(_) => lost_state_file(store, &manifest)?,
        None => None,
    };
    Ok(lost.map_or_else(|| Known::Usable(Arc::new(manifest)), Known::Unusable))
}
