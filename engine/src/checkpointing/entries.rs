//! What checkpoints have of the states that the driver keeps: counters, broadcast values, results
//! of batches, tables of producers. It gives all of it each time; what has changed is found here.

use crate::state::encoded::Entry;
use crate::state::table::block::EncodedGroup;
use highwater_checkpoint::entries::append;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_128;

/// What a state has in the newest published checkpoint: a hash of each value, by key.
type Known = BTreeMap<Vec<u8>, u128>;

/// What the newest published checkpoint has, by the names of states.
#[derive(Debug, Default)]
pub(crate) struct KnownEntries {
    published: BTreeMap<String, Known>,
    /// What the one that is being written has.
    written: BTreeMap<String, Known>,
}

impl KnownEntries {
    /// A checkpoint is being written.
    pub(crate) fn begin(&mut self) {
        self.written.clear();
    }

    /// Whether something is known of a state: then only what has changed is written.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.published.contains_key(name)
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&mut self) {
        self.published.clear();
    }

    /// What a checkpoint is to say of a state that has `entries`; all of it, if it is `anew`.
    pub(crate) fn block(
        &mut self,
        name: &str,
        entries: &[Entry],
        anew: bool,
    ) -> Result<EncodedGroup, String> {
        let empty = Known::new();
        let known = self.published.get(name).filter(|_| !anew);
        let whole = known.is_none();
        let known = known.unwrap_or(&empty);
        let hashes = entries
            .iter()
            .map(|(key, value)| (key.clone(), xxh3_128(value)));
        let now: Known = hashes.collect();
        let mut block = EncodedGroup {
            whole,
            ..EncodedGroup::default()
        };
        for gone in known.keys().filter(|key| !now.contains_key(*key)) {
            put(&mut block.gone, gone)?;
            block.removed += 1;
        }
        for (key, value) in entries {
            if known.get(key) != now.get(key) {
                put(&mut block.bytes, key)?;
                put(&mut block.bytes, value)?;
                block.entries += 1;
            }
        }
        self.written.insert(name.to_owned(), now);
        Ok(block)
    }

    /// The checkpoint is published.
    pub(crate) fn published(&mut self) {
        self.published = std::mem::take(&mut self.written);
    }
}

fn put(out: &mut Vec<u8>, item: &[u8]) -> Result<(), String> {
    append(out, |out| {
        out.extend_from_slice(item);
        Ok::<(), String>(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u8, value: &str) -> Entry {
        (vec![key], value.as_bytes().to_vec())
    }

    #[test]
    fn what_has_changed_since_the_published_one_is_written() {
        let mut known = KnownEntries::default();
        let mut write = |entries: &[Entry], publish: bool| {
            known.begin();
            let anew = !known.has("s");
            let block = known.block("s", entries, anew).unwrap();
            if publish {
                known.published();
            }
            (block.whole, block.removed, block.entries)
        };
        let two = [entry(1, "a"), entry(2, "b")];
        assert_eq!(write(&two, false), (true, 0, 2), "it fails");
        assert_eq!(write(&two, true), (true, 0, 2));
        assert_eq!(write(&two, true), (false, 0, 0));
        let other = [entry(2, "B"), entry(3, "c")];
        assert_eq!(write(&other, false), (false, 1, 2), "it fails");
        assert_eq!(write(&other, true), (false, 1, 2));
        assert_eq!(write(&other[..1], true), (false, 1, 0));
    }
}
