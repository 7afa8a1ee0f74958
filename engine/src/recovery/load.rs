//! Reads, migrates and decodes the key groups of the states, on several threads. Each block of the
//! checkpoint is read once.

use crate::error::{Error, Result};
use crate::mismatch::Mismatch;
use crate::panics;
use crate::plan::changes::Migration;
use crate::plan::program::StateInfo;
use crate::state::restore::{Restore, RestoreError, Restored};
use highwater_checkpoint::{Checkpoint, GroupEntries, StateEntry, StoredGroup};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A state of the checkpoint on its way into the program.
pub(super) struct Loading<'a> {
    /// Of the program's state.
    pub(super) index: usize,
    pub(super) slot: &'a StateInfo,
    pub(super) state: &'a StateEntry,
    /// Conversions that it has not gone through.
    pub(super) pending: &'a [Migration],
    pub(super) restore: Box<dyn Restore>,
}

/// Loads all states with `threads` threads. A panic in the program's types is an error.
pub(super) fn load(
    loading: Vec<Loading<'_>>,
    checkpoint: &Checkpoint,
    threads: usize,
) -> Result<BTreeMap<usize, Restored>> {
    let mut groups: Vec<(&Loading<'_>, StoredGroup)> = Vec::new();
    for of in &loading {
        let of_state = checkpoint.groups(&of.state.name)?.into_iter();
        groups.extend(of_state.map(|group| (of, group)));
    }
    each(&groups, threads, |(of, group)| {
        of.load_group(checkpoint, group.key_group)
    })?;
    drop(groups);
    let mut restored = BTreeMap::new();
    for of in loading {
        let Loading {
            index,
            slot,
            state,
            pending,
            restore,
        } = of;
        let finished = panics::catch(|| restore.finish());
        let mut finished =
            finished.map_err(|error| mismatch(error, checkpoint, state, slot, None))?;
        finished.origin.clone_from(&state.name);
        finished.conversions = pending.len();
        finished.write_anew |= !pending.is_empty() || state.name != slot.name;
        if finished.keys != state.entries {
            return Err(Mismatch::Keys {
                name: slot.name.clone(),
                checkpoint: checkpoint.manifest().number,
                expected: state.entries,
                found: finished.keys,
            }
            .into());
        }
        report(slot, state, &finished);
        restored.insert(index, finished);
    }
    Ok(restored)
}

/// Runs `work` for every item, on `threads` threads. Of several errors that of the first item comes
/// back, whichever thread was faster.
fn each<T: Sync>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.iter().try_for_each(work);
    }
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(BTreeMap::new());
    let run = || {
        // Items are begun in order. So when one fails, all before it have been begun, and end.
        while failed.lock().is_empty() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            if let Err(error) = work(item) {
                failed.lock().insert(at, error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            let thread = std::thread::Builder::new().name("highwater-restore".to_owned());
            // This thread does what others do not, so it may do without them.
            if let Err(error) = thread.spawn_scoped(scope, run) {
                tracing::warn!(%error, "a thread to restore state could not start");
                break;
            }
        }
        run();
    });
    failed
        .into_inner()
        .pop_first()
        .map_or(Ok(()), |(_, error)| Err(error))
}

impl Loading<'_> {
    /// Reads, migrates and decodes a key group; each key goes to the group to which it belongs now.
    fn load_group(&self, checkpoint: &Checkpoint, group: u32) -> Result<()> {
        let Some(GroupEntries { entries, bytes }) =
            checkpoint.read_group(&self.state.name, group)?
        else {
            return Ok(());
        };
        let found = panics::catch(|| self.decode(group, bytes))
            .map_err(|error| mismatch(error, checkpoint, self.state, self.slot, Some(group)))?;
        match found == entries {
            true => Ok(()),
            false => Err(Mismatch::Entries {
                name: self.slot.name.clone(),
                checkpoint: checkpoint.manifest().number,
                group,
                expected: entries,
                found,
            }
            .into()),
        }
    }

    fn decode(&self, group: u32, bytes: Vec<u8>) -> Result<u64, RestoreError> {
        let mut pending = self.pending.iter();
        let migrated = pending.try_fold(bytes, |bytes, migration| migration(&bytes));
        let migrated = migrated.map_err(RestoreError::Undecodable)?;
        self.restore.add(group, &migrated)
    }
}

fn mismatch(
    error: RestoreError,
    checkpoint: &Checkpoint,
    state: &StateEntry,
    slot: &StateInfo,
    group: Option<u32>,
) -> Error {
    let (name, now, then) = (
        slot.name.clone(),
        slot.type_names.clone(),
        state.fingerprint.clone(),
    );
    let checkpoint = checkpoint.manifest().number;
    let mismatch = match error {
        RestoreError::Undecodable(message) => Mismatch::Undecodable {
            name,
            checkpoint,
            group: group.unwrap_or(0),
            now,
            then,
            message,
        },
        RestoreError::SameKey(key) => Mismatch::SameKey {
            name,
            checkpoint,
            key,
            now,
            then,
        },
    };
    mismatch.into()
}

/// Logs what a change of the types did to the state: it is allowed, but must not go unnoticed.
fn report(slot: &StateInfo, state: &StateEntry, restored: &Restored) {
    let (name, then, now) = (&slot.name, &state.fingerprint, &slot.type_names);
    if restored.moved > 0 {
        let (moved, keys) = (restored.moved, restored.keys);
        tracing::warn!(
            state = name,
            moved,
            keys,
            %then,
            %now,
            "keys of a changed type were moved to the key groups to which they belong now"
        );
    }
    if !restored.ignored.is_empty() {
        let fields: Vec<&String> = restored.ignored.iter().collect();
        tracing::warn!(
            state = name,
            ?fields,
            %then,
            %now,
            "the program's types do not have these fields of the checkpoint: what they hold is left out of the state. If one was \
             renamed, add #[serde(alias = \"old name\")]"
        );
    }
}
