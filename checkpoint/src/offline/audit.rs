//! Every byte of a store, checked: files, blocks, chains, entries.

use crate::chains::Placed;
use crate::checkpoint::Checkpoint;
use crate::entries::take;
use crate::error::{CheckpointError, Result};
use crate::format::FILE_HEADER_LEN;
use crate::manifest::document::{FileEntry, Manifest, StateEntry};
use crate::manifest::read::{list, numbers, read_manifest};
use crate::merge::Payload;
use crate::offline::meaning::{Meaning, Pair};
use crate::state_file::header::file_header;
use crate::state_file::index;
use crate::store::names::{Name, StateName, manifest_name};
use crate::store::{Store, StoredFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// What was found in a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Audit {
    /// Its checkpoints, newest first.
    pub checkpoints: Vec<Audited>,
    /// Files that no checkpoint needs.
    pub leftovers: Vec<Leftover>,
    /// How many state files were read.
    pub files: u64,
    /// How many blocks are in them.
    pub blocks: u64,
    /// Length of these files, in bytes.
    pub bytes: u64,
}

/// What was found of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Audited {
    /// Its number.
    pub number: u64,
    /// Its manifest, if that could be read.
    pub manifest: Option<Manifest>,
    /// What is wrong with it; nothing if it is whole.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Name of the file in the store.
    pub file: String,
    /// Where in it, in bytes, if known.
    pub offset: Option<u64>,
    /// What was found.
    pub what: String,
}

/// A file that no checkpoint needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its name in the store.
    pub file: String,
    /// Its length in bytes.
    pub size: u64,
    /// What is known of it.
    pub kind: LeftoverKind,
}

/// What is known of a file that no checkpoint needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftoverKind {
    /// It was being written when a process ended, or is being written now.
    Temporary,
    /// A state file of a checkpoint that is newer than all manifests: as [`Self::Temporary`].
    Unpublished,
    /// A state file that no manifest names; the next start of the engine removes it.
    Unnamed,
    /// A state file that a manifest may name which cannot be read.
    PerhapsNamed,
}

/// Checks every checkpoint of `store`: that its files have the bytes that were written, that each
/// block opens and has as many entries as it says, that each key group has a base, that the states
/// have as many keys as the manifest says, each once, and that `meaning` accepts every key and
/// value. Never writes. Memory: the largest key group, and the index of the largest file.
///
/// # Errors
/// [`CheckpointError::Io`]. Damage is no error here: it is reported.
pub fn audit(store: &Arc<dyn Store>, meaning: &dyn Meaning) -> Result<Audit> {
    let listing = list(&**store)?;
    let mut found = Audit::default();
    let mut files = BTreeMap::new();
    let mut all: Vec<u64> = numbers(&listing).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    for number in all {
        let Some(audited) = audit_one(store, number, meaning, &mut files)? else {
            continue;
        };
        // Manifests go before their files: if it is gone now, nothing was wrong.
        if audited.findings.is_empty() || !is_gone(&**store, number)? {
            found.checkpoints.push(audited);
        }
    }
    for file in files.values() {
        found.files += 1;
        found.blocks += file.blocks;
        found.bytes = found.bytes.saturating_add(file.size);
    }
    found.leftovers = leftovers(&found.checkpoints, listing);
    Ok(found)
}

/// Whether there is no such manifest any more.
fn is_gone(store: &dyn Store, number: u64) -> Result<bool> {
    match store.len(&manifest_name(number)) {
        Ok(_) => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(CheckpointError::io("find", manifest_name(number), e)),
    }
}

/// What was found in a state file.
#[derive(Debug, Default)]
struct ReadFile {
    size: u64,
    blocks: u64,
    findings: Vec<Finding>,
}

/// The files that were read: several checkpoints may name one, with what they say of it.
type ReadFiles = BTreeMap<(String, u64, String), ReadFile>;

/// `None` if the checkpoint was retired by a running engine meanwhile.
fn audit_one(
    store: &Arc<dyn Store>,
    number: u64,
    meaning: &dyn Meaning,
    files: &mut ReadFiles,
) -> Result<Option<Audited>> {
    let file = manifest_name(number);
    let damaged = |what: String| {
        let what = what.strip_prefix(&format!("{file}: ")).unwrap_or(&what);
        let finding = Finding {
            file: file.clone(),
            offset: None,
            what: what.to_owned(),
        };
        Some(Audited {
            number,
            manifest: None,
            findings: vec![finding],
        })
    };
    let manifest = match read_manifest(&**store, number) {
        Ok(None) => return Ok(None),
        Ok(Some(Ok(manifest))) => manifest,
        Ok(Some(Err(what))) => return Ok(damaged(what)),
        Err(e @ CheckpointError::NewerFormat { .. }) => return Ok(damaged(e.to_string())),
        Err(e) => return Err(e),
    };
    let checkpoint = Checkpoint::of_manifest(Arc::clone(store), manifest);
    let mut findings = BTreeSet::new();
    for file in &checkpoint.manifest().files {
        let key = (file.name.clone(), file.size, file.blake3.clone());
        if !files.contains_key(&key) {
            files.insert(key.clone(), read_file(&checkpoint, file)?);
        }
        let read = files.get(&key);
        findings.extend(read.iter().flat_map(|read| read.findings.iter().cloned()));
    }
    audit_states(&checkpoint, meaning, &mut findings)?;
    Ok(Some(Audited {
        number,
        manifest: Some(checkpoint.manifest().clone()),
        findings: findings.into_iter().collect(),
    }))
}

/// Damage becomes a finding; any other error stays one.
fn noted<T>(result: Result<T>, findings: &mut impl Extend<Finding>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CheckpointError::Damaged { file, offset, what }) => {
            findings.extend([Finding { file, offset, what }]);
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Length, hash, header, index and blocks of a file.
fn read_file(checkpoint: &Checkpoint, file: &FileEntry) -> Result<ReadFile> {
    let mut read = ReadFile {
        size: file.size,
        ..ReadFile::default()
    };
    noted(checkpoint.verify_file(file), &mut read.findings)?;
    let (store, manifest) = (&**checkpoint.store(), checkpoint.manifest());
    let Some(name) = StateName::parse(&file.name) else {
        return Ok(read); // no manifest lists such a file
    };
    let expected = file_header(manifest.format_version, manifest.log_id, name);
    let header = store.get_range(&file.name, 0, FILE_HEADER_LEN);
    let header = header.map_err(|e| index::lost(&file.name, 0, e));
    let header = header.and_then(|header| match header == expected {
        true => Ok(()),
        false => Err(CheckpointError::damaged(
            &file.name,
            Some(0),
            "its header is not that of this file",
        )),
    });
    noted(header, &mut read.findings)?;
    if manifest.format_version == 1 {
        read.blocks = manifest.states.iter().map(|s| s.blocks.len() as u64).sum();
        return Ok(read); // the manifest knows its blocks
    }
    let blocks = index::read(store, manifest.log_id, name, file.size);
    let blocks = noted(blocks, &mut read.findings)?;
    for block in blocks.unwrap_or_default() {
        read.blocks += 1;
        let placed = Placed {
            file: name,
            block,
            v1: None,
        };
        let checked = placed.payload(store, manifest.log_id);
        let checked =
            checked.and_then(|payload| count_items(&payload).map_err(|what| placed.damaged(&what)));
        noted(checked, &mut read.findings)?;
    }
    Ok(read)
}

/// Refuses a payload that has not the items that its block announces.
fn count_items(payload: &Payload) -> Result<(), String> {
    let mut rest = payload.bytes.as_slice();
    let mut found = 0_u64;
    while !rest.is_empty() {
        take(&mut rest).ok_or("it ends inside an item")?;
        found += 1;
    }
    let (removed, entries) = (payload.removed, payload.entries);
    match entries.checked_mul(2).and_then(|n| n.checked_add(removed)) {
        Some(expected) if expected == found => Ok(()),
        _ => Err(format!(
            "it has {found} items, but {removed} removed keys and {entries} entries were written"
        )),
    }
}

/// The key groups of every state, put together.
fn audit_states(
    checkpoint: &Checkpoint,
    meaning: &dyn Meaning,
    findings: &mut BTreeSet<Finding>,
) -> Result<()> {
    let chains = checkpoint.chains().map(drop);
    if noted(chains, findings)?.is_none() {
        return Ok(());
    }
    let file = manifest_name(checkpoint.number());
    for state in checkpoint.states() {
        let (mut keys, mut is_whole) = (0_u64, true);
        for stored in checkpoint.groups(&state.name)? {
            let group = stored.key_group;
            let read = checkpoint.read_group(&state.name, group);
            let read = noted(read, findings)?;
            let Some(Some(entries)) = read else {
                is_whole = false;
                continue;
            };
            keys = keys.saturating_add(entries.entries);
            let manifest = checkpoint.manifest();
            let pairs = meaning.pairs(manifest, state, &entries);
            let count = meaning
                .is_counted(manifest, state)
                .then_some(entries.entries);
            let checked = pairs.and_then(|pairs| audit_pairs(state, &pairs, count, meaning));
            if let Err(what) = checked {
                let what = format!("state {:?}, key group {group}: {what}", state.name);
                findings.insert(Finding {
                    file: file.clone(),
                    offset: None,
                    what,
                });
            }
        }
        if is_whole && keys != state.entries {
            let (name, expected) = (&state.name, state.entries);
            findings.insert(Finding {
                file: file.clone(),
                offset: None,
                what: format!("state {name:?} has {keys} keys, {expected} were written"),
            });
        }
    }
    Ok(())
}

/// The entries of one key group.
fn audit_pairs(
    state: &StateEntry,
    pairs: &[Pair<'_>],
    count: Option<u64>,
    meaning: &dyn Meaning,
) -> Result<(), String> {
    let found = pairs.len() as u64;
    if let Some(expected) = count.filter(|expected| *expected != found) {
        return Err(format!("it has {found} entries, {expected} were written"));
    }
    let mut keys = BTreeSet::new();
    for (at, (key, value)) in pairs.iter().enumerate() {
        let what = |part: &str, what: &str| format!("the {part} of entry {at}: {what}");
        meaning.check(state, key).map_err(|e| what("key", &e))?;
        meaning.check(state, value).map_err(|e| what("value", &e))?;
        if !keys.insert(&**key) {
            return Err(what("key", "an earlier entry has it too"));
        }
    }
    Ok(())
}

/// The files of a listing that no manifest names.
fn leftovers(checkpoints: &[Audited], listing: Vec<StoredFile>) -> Vec<Leftover> {
    let manifests = checkpoints.iter().filter_map(|c| c.manifest.as_ref());
    let named = manifests.flat_map(|m| m.files.iter().map(|file| file.name.as_str()));
    let named: BTreeSet<&str> = named.collect();
    let unread = checkpoints.iter().filter(|c| c.manifest.is_none());
    let newest_unread = unread.map(|c| c.number).max();
    let newest = checkpoints.iter().map(|c| c.number).max();
    let mut found: Vec<Leftover> = Vec::new();
    for StoredFile { name: file, size } in listing {
        let kind = match Name::parse(&file) {
            Name::Temporary => LeftoverKind::Temporary,
            Name::State(_) if named.contains(file.as_str()) => continue,
            Name::State(state) if newest_unread >= Some(state.number) => LeftoverKind::PerhapsNamed,
            Name::State(state) if newest < Some(state.number) => LeftoverKind::Unpublished,
            Name::State(_) => LeftoverKind::Unnamed,
            Name::Manifest { .. } | Name::Unknown => continue,
        };
        found.push(Leftover { file, size, kind });
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}
