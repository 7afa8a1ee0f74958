//! States that the driver keeps, in encoded form: counters, broadcast values, results of batches.
//!
//! In a checkpoint they look as keyed states do: entries of a key and a value. So they are renamed,
//! dropped, converted and checked as every state is. A state of one value has one entry, whose key
//! is `()`.

use crate::codec::{message_pack, round_trip};
use crate::record::Value;
use crate::state::key_group::KeyGroups;
use crate::state::restore::{Regroup, Restore, RestoreError, Restored, StateTypes};
use crate::state::table::block::{RestoredState, raw_entries};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

/// Key and value of one entry, as they are written into a checkpoint.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// The types of a state that the driver keeps.
pub(crate) struct EncodedTypes<K, S> {
    keys: PhantomData<fn() -> K>,
    values: PhantomData<fn() -> S>,
}

impl<K, S> EncodedTypes<K, S> {
    pub(crate) fn new() -> Self {
        Self {
            keys: PhantomData,
            values: PhantomData,
        }
    }
}

impl<K: Value, S: Value> StateTypes for EncodedTypes<K, S> {
    fn restore(&self, _: Regroup) -> Box<dyn Restore> {
        Box::new(Restoring::<K, S> {
            found: Mutex::default(),
            types: PhantomData,
        })
    }

    fn initial(&self, _: KeyGroups) -> Result<Option<Restored>, String> {
        Ok(None)
    }

    fn read_back(&self, bytes: &[u8]) -> Result<u64, String> {
        let mut entries = 0;
        for entry in raw_entries(bytes) {
            let entry = entry?;
            round_trip::read_back::<K>(entry.key)?;
            round_trip::read_back::<S>(entry.state)?;
            entries += 1;
        }
        Ok(entries)
    }
}

struct Restoring<K, S> {
    found: Mutex<Found>,
    types: PhantomData<fn() -> (K, S)>,
}

#[derive(Default)]
struct Found {
    /// By block: threads bring them in any order.
    blocks: BTreeMap<u32, Vec<Entry>>,
    ignored: BTreeSet<String>,
}

impl<K: Value, S: Value> Restoring<K, S> {
    /// An entry as the program writes it today, which an older one may have written otherwise.
    fn today(&self, key: &[u8], value: &[u8]) -> Result<Entry, String> {
        let mut ignored = |path: String| {
            let path = format!("value: {path}");
            self.found.lock().ignored.insert(path);
        };
        let key: K = message_pack::decode(key)?;
        let value: S = message_pack::decode_noting(value, &mut ignored)?;
        let key = message_pack::encode(&key).map_err(|e| e.to_string())?;
        Ok((key, round_trip::encode(&value)?))
    }
}

impl<K: Value, S: Value> Restore for Restoring<K, S> {
    fn add(&self, number: u32, bytes: &[u8]) -> Result<u64, RestoreError> {
        let mut entries = Vec::new();
        for entry in raw_entries(bytes) {
            let raw = entry.map_err(RestoreError::Undecodable)?;
            let entry = self.today(raw.key, raw.state);
            entries.push(entry.map_err(RestoreError::Undecodable)?);
        }
        let count = entries.len() as u64;
        self.found.lock().blocks.insert(number, entries);
        Ok(count)
    }

    fn finish(self: Box<Self>) -> Result<Restored, RestoreError> {
        let found = self.found.into_inner();
        let entries: Vec<Entry> = found.blocks.into_values().flatten().collect();
        Ok(Restored {
            keys: entries.len() as u64,
            groups: BTreeMap::from([(0, Box::new(entries) as _)]),
            moved: 0,
            write_anew: true,
            ignored: found.ignored,
            ..Restored::default()
        })
    }
}

/// The entries of a state that [`EncodedTypes`] restored, in the order of the checkpoint.
pub(crate) fn take_entries(restored: Option<RestoredState>) -> Vec<Entry> {
    let groups = restored.into_iter().flatten();
    let entries = groups.map(|(_, group)| {
        *group
            .downcast::<Vec<Entry>>()
            .expect("a state is decoded by the decoder of its own operator")
    });
    entries.flatten().collect()
}

/// The value of a state that has one.
pub(crate) fn take_value(restored: Option<RestoredState>) -> Option<Vec<u8>> {
    take_entries(restored).pop().map(|(_, value)| value)
}

/// The entry of a state of one value.
pub(crate) fn value_entry(value: &[u8]) -> Result<Entry, String> {
    let key = message_pack::encode(&()).map_err(|e| e.to_string())?;
    Ok((key, value.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::key_group::GroupsOnDisk;
    use crate::state::table::block::migrate;
    use highwater_checkpoint::entries::append;

    fn restored<S: Value>(block: &[u8]) -> Result<Vec<u8>, RestoreError> {
        let types = EncodedTypes::<(), S>::new();
        let groups = KeyGroups::new(8, 1);
        let restore = types.restore(Regroup {
            from: GroupsOnDisk::Seeded(groups),
            to: groups,
            time_ms: 0,
        });
        assert_eq!(restore.add(0, block)?, 1);
        Ok(take_value(Some(restore.finish()?.groups)).unwrap())
    }

    fn block(value: &[u8]) -> Vec<u8> {
        let (key, value) = value_entry(value).unwrap();
        let mut bytes = Vec::new();
        for item in [key, value] {
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(&item);
                Ok::<(), String>(())
            };
            append(&mut bytes, write).unwrap();
        }
        bytes
    }

    #[test]
    fn a_value_comes_back_and_is_converted_as_states_are() {
        let seven = message_pack::encode(&7_u64).unwrap();
        let block = block(&seven);
        assert_eq!(restored::<u64>(&block).unwrap(), seven);
        let types = EncodedTypes::<(), u64>::new();
        assert_eq!(types.read_back(&block).unwrap(), 1);
        let block = migrate::<u64, String>(&block, &|n| format!("n{n}")).unwrap();
        let text = restored::<String>(&block).unwrap();
        assert_eq!(message_pack::decode::<String>(&text).unwrap(), "n7");
    }

    #[test]
    fn damaged_blocks_are_errors_never_panics() {
        let value = message_pack::encode("a value").unwrap();
        let block = block(&value);
        for cut in 1..block.len() {
            assert!(restored::<String>(&block[..cut]).is_err());
        }
        assert!(restored::<u64>(&block).is_err(), "of another type");
    }
}
