//! What a run leaves, and how two runs differ.

use super::pipeline::DIR;
use crate::checkpoint::{Checkpoint, Checkpoints, LocalStore, Store, Validity};
use crate::disk::SimDisk;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a run leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The last batch that the final checkpoint has.
    pub(super) last_batch: u64,
    /// Records of the committed batches, as text, by output and batch.
    pub(super) outputs: BTreeMap<String, BTreeMap<u64, Vec<String>>>,
    /// Every state of the program in the last checkpoint: its key groups, encoded.
    pub(super) states: States,
    /// The files that the pipeline has written beside its own directory.
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    /// What no sink may ever see.
    pub(super) violations: Vec<String>,
}

impl Outcome {
    /// How `found` differs from this one, which nothing has disturbed.
    pub(super) fn difference(&self, found: &Self) -> Option<String> {
        if let Some(violation) = found.violations.first() {
            return Some(violation.clone());
        }
        for (name, batches) in &self.outputs {
            let found = found.outputs.get(name);
            let found = found.unwrap_or(const { &BTreeMap::new() });
            if let Some((batch, what)) = first_difference(batches, found) {
                return Some(format!("output \"{name}\", batch {batch}: {what}"));
            }
        }
        if let Some((name, what)) = first_difference(&self.files, &found.files) {
            return Some(format!("the file {}: {what}", name.display()));
        }
        for (name, groups) in &self.states {
            let found = found.states.get(name);
            let found = found.unwrap_or(const { &BTreeMap::new() });
            if let Some((group, what)) = first_difference(groups, found) {
                return Some(format!("state \"{name}\", key group {group}: {what}"));
            }
        }
        let more = found.states.keys().find(|s| !self.states.contains_key(*s));
        more.map(|name| format!("state \"{name}\" is there, which the undisturbed run has not"))
    }

    /// Whether there is anything to compare.
    pub(super) fn is_empty(&self) -> bool {
        let silent = self.outputs.values().all(BTreeMap::is_empty);
        silent && self.files.is_empty() && self.states.is_empty()
    }
}

/// The first key of which two maps have different values, and these.
fn first_difference<K: Ord + Clone, V: PartialEq + Debug>(
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
) -> Option<(K, String)> {
    let mut keys: Vec<&K> = expected.keys().chain(found.keys()).collect();
    keys.sort();
    let differs = |key: &&K| expected.get(*key) != found.get(*key);
    let key = keys.into_iter().find(differs)?;
    let show = |value: Option<&V>| value.map_or("nothing".to_owned(), |v| shortened(v));
    let (expected, found) = (show(expected.get(key)), show(found.get(key)));
    Some((key.clone(), format!("expected {expected}, found {found}")))
}

/// So many characters of a value are shown.
const SHOWN: usize = 400;

fn shortened(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!(
            "{}... ({} bytes)",
            text.get(..end).unwrap_or(""),
            text.len()
        ),
        None => text,
    }
}

/// The kind of the states that hold what sources know of their producers. They have places in the
/// log, which differ after a cut: records that were sent and lost leave a gap.
const PRODUCERS: &str = "producers";

/// What a checkpoint has of every state, by key group.
type States = BTreeMap<String, BTreeMap<u32, Vec<u8>>>;

/// The newest checkpoint of the program: its batch, and the states of operators with counters and
/// broadcasts.
pub(super) fn checkpoint(disk: &SimDisk) -> Result<(u64, States), String> {
    let dir = Path::new(DIR).join("checkpoints");
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(Arc::new(disk.clone()), dir));
    let found = Checkpoints::inspect(&store).map_err(|e| e.to_string())?;
    let mut valid = found
        .into_iter()
        .filter(|found| found.validity == Validity::Valid);
    let Some(manifest) = valid.next().and_then(|newest| newest.manifest) else {
        return Ok((0, States::new()));
    };
    let last_batch = manifest.batch.id;
    let checkpoint = Checkpoint::of_manifest(store, manifest);
    let mut states = States::new();
    for state in checkpoint.states().iter().filter(|s| s.kind != PRODUCERS) {
        let mut groups = BTreeMap::new();
        for group in checkpoint.groups(&state.name).map_err(|e| e.to_string())? {
            let read = checkpoint.read_group(&state.name, group.key_group);
            let read = read.map_err(|e| e.to_string())?;
            // A key group that has become empty is as one that never was.
            let read = read.filter(|read| read.entries > 0);
            groups.extend(read.map(|read| (group.key_group, read.bytes)));
        }
        states.insert(state.name.clone(), groups);
    }
    Ok((last_batch, states))
}

/// The files outside of the program's directory. Those whose name begins with a dot belong to
/// sinks.
pub(super) fn files(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let hidden = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with('.'))
    };
    let files = disk.files().into_iter();
    let files = files.filter(|path| !path.starts_with(DIR) && !hidden(path));
    let read = |path: PathBuf| disk.read_file(&path).map(|bytes| (path, bytes));
    files.filter_map(read).collect()
}
