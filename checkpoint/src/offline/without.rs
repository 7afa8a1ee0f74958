//! A checkpoint without one of its states, in an empty store.

use crate::catalog::Catalog;
use crate::checkpoint::Checkpoint;
use crate::error::{CheckpointError, Result};
use crate::manifest::document::Manifest;
use crate::manifest::read::list;
use crate::offline::copy::{Copied, begin, copy_file, put};
use crate::options::Options;
use crate::store::Store;
use crate::store::names::{MAX_NUMBER, StateName, manifest_name};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A checkpoint that was written without a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Without {
    /// Its number: one above the highest of the store that it came from.
    pub number: u64,
    /// What was written.
    pub copied: Copied,
}

/// Writes `checkpoint` without its state `name` into the empty store `to`, with `metadata` instead
/// of its own. Its LSN, batch and other states are as they were, and so are the files that have
/// them. Blocks of the state may be in these files: nothing names it any more, so they are dead,
/// and go when the engine writes the rest of a file anew.
///
/// The new checkpoint has the number after the highest one of its old store, a writer of its own,
/// and a generation more. A process that still writes checkpoints for the old store would take that
/// number too: it finds it taken, and stops.
///
/// # Errors
/// [`CheckpointError::Misuse`] if there is no such state, or the checkpoint has format 1, whose
/// blocks know states by their place; [`CheckpointError::Damaged`];
/// [`CheckpointError::NewerFormat`] if any checkpoint of the old store has one;
/// [`CheckpointError::Io`], also if `to` is not empty. After an error `to` may hold some files, but
/// no manifest.
pub fn copy_without(
    checkpoint: &Checkpoint,
    name: &str,
    metadata: serde_json::Value,
    to: &dyn Store,
) -> Result<Without> {
    let old = checkpoint.manifest();
    let misuse = |what: String| CheckpointError::Misuse {
        number: old.number,
        what,
    };
    if old.state(name).is_none() {
        return Err(misuse(format!("it has no state {name:?} to leave out")));
    }
    if old.format_version == 1 {
        let what = "a state cannot be left out of format 1, which knows states by their place; start the engine once with this \
                    version, which writes format 2";
        return Err(misuse(what.to_owned()));
    }
    let store = checkpoint.store();
    let listing = list(&**store)?;
    let catalog = Catalog::read(Arc::clone(store), &listing)?;
    let last = catalog.last_number().unwrap_or(0).max(old.number);
    if last >= MAX_NUMBER {
        return Err(misuse(format!("{MAX_NUMBER} is the last number there is")));
    }
    let generations = catalog.usable().map(|manifest| manifest.generation);
    let generation = generations.max().unwrap_or(0).max(old.generation);
    let mut manifest = Manifest {
        number: last + 1,
        previous: Some(last),
        writer: Options::default().writer,
        generation: generation.saturating_add(1),
        attempt: Options::default().writer,
        metadata,
        ..old.clone()
    };
    manifest.states.retain(|state| state.name != name);
    keep_needed_files(&mut manifest, checkpoint)?;
    let bytes = manifest.encode()?;
    begin(to)?;
    let mut copied = Copied { files: 0, bytes: 0 };
    for file in &manifest.files {
        copy_file(&**store, file, to)?;
        copied.add(file.size);
    }
    put(to, &manifest_name(manifest.number), &bytes)?;
    copied.add(bytes.len() as u64);
    Ok(Without {
        number: manifest.number,
        copied,
    })
}

/// Leaves out files in which no block counts any more.
fn keep_needed_files(manifest: &mut Manifest, checkpoint: &Checkpoint) -> Result<()> {
    let mut needed = BTreeSet::new();
    for state in &manifest.states {
        let chains = checkpoint.chains()?.of_state(state.id);
        needed.extend(chains.flat_map(|(_, chain)| chain.iter().map(|p| p.file.to_string())));
    }
    manifest.files.retain(|file| needed.contains(&file.name));
    let named = manifest.files.iter().map(|f| StateName::parse(&f.name));
    let named = named.flatten().map(|name| name.number);
    let named: BTreeSet<u64> = named.chain([manifest.number]).collect();
    manifest.chain = named.into_iter().collect();
    Ok(())
}
