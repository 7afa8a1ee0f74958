//! Results in encoded form, and the bound on them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a result costs beside its bytes: its place in the map. With it, empty results are bounded
/// too.
pub(crate) const RESULT_OVERHEAD: u64 = 128;

/// Whose result it is: the key of its entry in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResultKey {
    pub(crate) batch: u64,
    pub(crate) time_ms: u64,
    /// `Dataset::checkpoint` asked for it: it stays until it is released.
    pub(crate) asked: bool,
}

/// A result: what `Vec<T>` serialises to.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) key: ResultKey,
    pub(crate) bytes: Arc<[u8]>,
    /// The batch after which it was captured for a checkpoint.
    pub(crate) captured: Option<u64>,
    /// The newest checkpoint that has it.
    pub(crate) checkpoint: Option<u64>,
}

impl Stored {
    pub(crate) fn new(key: ResultKey, bytes: Arc<[u8]>) -> Self {
        Self {
            key,
            bytes,
            captured: None,
            checkpoint: None,
        }
    }
}

/// The records of one chunk of a stream, encoded one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct EncodedRecords {
    pub(crate) count: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The records of a batch, chunk after chunk, as a `Vec` of all of them serialises.
pub(crate) fn joined(parts: impl IntoIterator<Item = EncodedRecords>) -> Result<Arc<[u8]>, String> {
    let parts: Vec<EncodedRecords> = parts.into_iter().collect();
    let count: u64 = parts.iter().map(|part| part.count).sum();
    let mut bytes = array_header(count)?;
    parts.iter().for_each(|part| bytes.extend(&part.bytes));
    Ok(bytes.into())
}

/// How MessagePack begins an array of so many values.
fn array_header(count: u64) -> Result<Vec<u8>, String> {
    let too_many = |_| format!("a result of {count} records is too large to be kept");
    Ok(match count {
        0..=15 => vec![0x90 | u8::try_from(count).map_err(too_many)?],
        16..=0xFFFF => {
            let count = u16::try_from(count).map_err(too_many)?.to_be_bytes();
            [&[0xDC], count.as_slice()].concat()
        }
        _ => {
            let count = u32::try_from(count).map_err(too_many)?.to_be_bytes();
            [&[0xDD], count.as_slice()].concat()
        }
    })
}

/// The newest results, bounded in bytes: the oldest goes first.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// 0 if results are not kept.
    pub(crate) max_bytes: u64,
    bytes: u64,
    results: BTreeMap<u64, Stored>,
}

impl Cache {
    pub(crate) fn get(&self, batch: u64) -> Option<&Stored> {
        self.results.get(&batch)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = ResultKey> {
        self.results.values().map(|stored| stored.key)
    }

    /// Keeps a result if it fits at all. A batch that runs again replaces its own.
    pub(crate) fn put(&mut self, stored: Stored) {
        self.remove(stored.key.batch);
        let cost = cost(&stored);
        if cost > self.max_bytes {
            return;
        }
        self.make_room(cost);
        self.bytes += cost;
        self.results.insert(stored.key.batch, stored);
    }

    /// Changes the bound.
    pub(crate) fn bound(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
        self.make_room(0);
    }

    fn make_room(&mut self, cost: u64) {
        while self.bytes > self.max_bytes.saturating_sub(cost)
            && let Some(oldest) = self.results.keys().next().copied()
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, batch: u64) {
        if let Some(removed) = self.results.remove(&batch) {
            self.bytes -= cost(&removed);
        }
    }
}

fn cost(stored: &Stored) -> u64 {
    stored.bytes.len() as u64 + RESULT_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message_pack;

    fn stored(batch: u64, len: usize) -> Stored {
        let key = ResultKey {
            batch,
            time_ms: batch * 1000,
            asked: false,
        };
        Stored::new(key, vec![7; len].into())
    }

    fn batches(cache: &Cache) -> Vec<u64> {
        cache.keys().map(|key| key.batch).collect()
    }

    #[test]
    fn the_bound_is_exact_and_the_oldest_goes_first() {
        let mut cache = Cache::default();
        cache.put(stored(1, 0));
        assert_eq!(batches(&cache), [0; 0], "nothing is kept without a bound");
        cache.bound(3 * (RESULT_OVERHEAD + 10));
        for batch in 1..=3 {
            cache.put(stored(batch, 10));
        }
        assert_eq!(batches(&cache), [1, 2, 3], "they fit exactly");
        cache.put(stored(4, 11));
        assert_eq!(batches(&cache), [3, 4], "one byte more costs two");
        cache.put(stored(4, 10));
        cache.put(stored(5, 10));
        assert_eq!(batches(&cache), [3, 4, 5], "a batch is kept once");
        cache.put(stored(6, 1000));
        assert_eq!(batches(&cache), [3, 4, 5], "what never fits evicts nothing");
        cache.bound(RESULT_OVERHEAD + 10);
        assert_eq!(batches(&cache), [5]);
    }

    #[test]
    fn joined_records_are_a_vector_of_them() {
        for count in [0_u32, 1, 15, 16, 17, 65_535, 65_536, 70_000] {
            let records: Vec<u32> = (0..count).collect();
            let parts = records.chunks(1000).map(|part| EncodedRecords {
                count: part.len() as u64,
                bytes: part
                    .iter()
                    .flat_map(|n| message_pack::encode(n).unwrap())
                    .collect(),
            });
            let whole = message_pack::encode(&records).unwrap();
            assert_eq!(*joined(parts).unwrap(), *whole, "{count}");
        }
    }
}
