//! Which keys of which frames are already in the log: what makes a retry with a key count once.
//!
//! A key is not a number: it says nothing of the frames before it. So keys are remembered one by
//! one, in a window: the newest ones, by number and by age.

use crate::codec::message_pack;
use crate::engine_log::envelope::IdempotencyKey;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use highwater_wal::Lsn;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// So many keys share an entry of a checkpoint, and are forgotten together.
const CHUNK: usize = 1024;
/// Bytes of a key in such an entry.
const ENCODED: usize = 48;

/// How long keys are remembered.
///
/// ```
/// use highwater_engine::KeyWindow;
/// use std::time::Duration;
/// let window = KeyWindow { keys: 100_000, age: Duration::from_hours(2) };
/// assert!(window.keys < KeyWindow::default().keys);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyWindow {
    /// So many of the newest ones at least, and a few thousand more at most. Each takes about 64
    /// bytes of memory.
    pub keys: usize,
    /// A key that is older is not recognised, by the wall clock.
    pub age: Duration,
}

impl Default for KeyWindow {
    /// A million (2^20) keys, and 24 hours.
    fn default() -> Self {
        Self {
            keys: 1 << 20,
            age: Duration::from_hours(24),
        }
    }
}

/// The key of a frame, as it is remembered.
///
/// The hash is not a cryptographic one. Who could find a second key with the same hash could as
/// well send the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyMark {
    pub(crate) key: u128,
    pub(crate) body: u128,
    /// When its frame was appended, by the wall clock.
    pub(crate) received_ms: u64,
}

impl KeyMark {
    pub(crate) fn new(key: &IdempotencyKey, received_ms: u64) -> Self {
        Self {
            key: xxh3_128(&key.key),
            body: u128::from_le_bytes(key.body_hash),
            received_ms,
        }
    }
}

/// A hash of what is sent with a key: of the records, their lengths and their order.
pub(crate) fn body_hash(records: &[&[u8]]) -> [u8; 16] {
    let mut hash = Xxh3::new();
    for record in records {
        hash.update(&(record.len() as u64).to_le_bytes());
        hash.update(record);
    }
    hash.digest128().to_le_bytes()
}

/// A key that the log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownKey {
    pub(crate) mark: KeyMark,
    /// Where its frame is.
    pub(crate) lsn: Lsn,
}

/// Keys that follow each other in the log; the first one has a number that [`CHUNK`] divides.
type Chunk = Arc<Vec<KnownKey>>;

/// The keys of a source, in the order of the log.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// All but the last one are full.
    chunks: VecDeque<Chunk>,
    /// The number of the first key of the first chunk.
    first: u64,
    /// Keys below this number are of completed batches.
    settled: u64,
    /// The number of the newest frame of each key.
    places: HashTable<u64>,
    /// Until a receiver has said which, nothing is forgotten: it may want more than the default.
    window: Option<KeyWindow>,
    /// How many were forgotten because there were too many.
    forgotten: u64,
}

impl Keys {
    /// From what a checkpoint has.
    pub(crate) fn new(settled: &SettledKeys) -> Self {
        let first = settled.chunks.first().map_or(0, |(number, _)| *number);
        let mut keys = Self {
            first: first * CHUNK as u64,
            ..Self::default()
        };
        for chunk in settled.chunks.iter().map(|(_, chunk)| chunk) {
            let numbers = keys.end()..;
            keys.chunks.push_back(Arc::clone(chunk));
            chunk
                .iter()
                .zip(numbers)
                .for_each(|(known, number)| keys.place(known.mark.key, number));
        }
        keys.settled = keys.end();
        keys
    }

    /// What the log has of this key, unless it is too old.
    pub(crate) fn get(&self, mark: &KeyMark) -> Option<KnownKey> {
        let is_it = |number: &u64| self.at(*number).is_some_and(|at| at.mark.key == mark.key);
        let number = self.places.find(fold(mark.key), is_it)?;
        self.at(*number)
            .filter(|known| !self.is_old(known, mark.received_ms))
    }

    /// A frame with this key is appended at `lsn`, after all others.
    pub(crate) fn append(&mut self, mark: KeyMark, lsn: Lsn) {
        self.push(mark, lsn);
        let _default = self.window.get_or_insert_default();
        self.forget(mark.received_ms);
    }

    /// Takes in the key of the frame at `lsn`, which comes after all others, as recovery finds it.
    pub(crate) fn push(&mut self, mark: KeyMark, lsn: Lsn) {
        let (known, number) = (KnownKey { mark, lsn }, self.end());
        match self.chunks.back_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => Arc::make_mut(last).push(known),
            None => self.chunks.push_back(Arc::new(vec![known])),
        }
        self.place(mark.key, number);
    }

    /// From now on.
    pub(crate) fn set_window(&mut self, window: KeyWindow, now_ms: u64) {
        self.window = Some(window);
        self.forget(now_ms);
    }

    /// The batch that ends at `end` is complete.
    pub(crate) fn settle(&mut self, end: Lsn) {
        while self.at(self.settled).is_some_and(|known| known.lsn < end) {
            self.settled += 1;
        }
    }

    /// Those of completed batches. The full chunks are shared.
    pub(crate) fn settled(&self) -> SettledKeys {
        let mut chunks = Vec::new();
        let mut number = self.first;
        for chunk in &self.chunks {
            let below = self.settled.saturating_sub(number);
            let below = usize::try_from(below).unwrap_or(usize::MAX);
            let part = match chunk.get(..below) {
                None => Arc::clone(chunk),
                Some([]) => break,
                Some(part) => Arc::new(part.to_vec()),
            };
            chunks.push((number / CHUNK as u64, part));
            number += CHUNK as u64;
        }
        SettledKeys { chunks }
    }

    pub(crate) fn len(&self) -> usize {
        let last = self.chunks.back().map_or(0, |last| last.len());
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }

    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The number of the next key.
    fn end(&self) -> u64 {
        self.first + self.len() as u64
    }

    fn at(&self, number: u64) -> Option<KnownKey> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK).copied()
    }

    fn is_old(&self, known: &KnownKey, now_ms: u64) -> bool {
        let age = self.window.unwrap_or_default().age;
        u128::from(now_ms.saturating_sub(known.mark.received_ms)) >= age.as_millis()
    }

    /// Notes where a key is: it may have been there before, too old to be recognised.
    fn place(&mut self, key: u128, number: u64) {
        let Self {
            chunks,
            first,
            places,
            ..
        } = self;
        let key_at = |number: &u64| {
            let at = usize::try_from(number - *first).unwrap_or(usize::MAX);
            let known = chunks
                .get(at / CHUNK)
                .and_then(|chunk| chunk.get(at % CHUNK));
            known.map_or(0, |known| known.mark.key)
        };
        let entry = places.entry(
            fold(key),
            |number| key_at(number) == key,
            |number| fold(key_at(number)),
        );
        match entry {
            Entry::Occupied(mut entry) => *entry.get_mut() = number,
            Entry::Vacant(entry) => drop(entry.insert(number)),
        }
    }

    /// Forgets whole chunks, the oldest first: those beyond the number that is to be remembered,
    /// and those of which every key is too old.
    fn forget(&mut self, now_ms: u64) {
        let most = self.window.unwrap_or_default().keys;
        while let Some(oldest) = self.chunks.front().filter(|oldest| oldest.len() == CHUNK) {
            // The newest first: mostly it decides.
            let too_old = oldest.iter().rev().all(|known| self.is_old(known, now_ms));
            if !too_old && self.len() - CHUNK < most {
                return;
            }
            let oldest = Arc::clone(oldest);
            for (known, number) in oldest.iter().zip(self.first..) {
                let entry = self
                    .places
                    .find_entry(fold(known.mark.key), |at| *at == number);
                if let Ok(entry) = entry {
                    entry.remove();
                }
                self.forgotten += u64::from(!self.is_old(known, now_ms));
            }
            self.chunks.pop_front();
            self.first += CHUNK as u64;
            self.settled = self.settled.max(self.first);
        }
    }
}

/// The hash of a hash.
#[expect(
    clippy::cast_possible_truncation,
    reason = "each half of it is a hash too"
)]
fn fold(key: u128) -> u64 {
    key as u64
}

/// The keys of completed batches, for a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SettledKeys {
    /// By number: chunks that follow each other.
    chunks: Vec<(u64, Chunk)>,
}

impl SettledKeys {
    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(|(_, chunk)| chunk.len()).sum()
    }

    /// For a checkpoint: an entry for each chunk. One that is full never changes again.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.chunks.iter().map(|(number, chunk)| {
            let mut bytes = Vec::with_capacity(chunk.len() * ENCODED);
            for KnownKey { mark, lsn } in &**chunk {
                bytes.extend(mark.key.to_le_bytes());
                bytes.extend(mark.body.to_le_bytes());
                bytes.extend(mark.received_ms.to_le_bytes());
                bytes.extend(lsn.get().to_le_bytes());
            }
            let key = message_pack::encode(number).expect("a number serialises");
            let value = message_pack::encode(&Packed(bytes)).expect("bytes serialise");
            (key, value)
        })
    }

    /// Takes in an entry of a checkpoint, in any order.
    pub(crate) fn add(&mut self, number: u64, value: &[u8]) -> Result<(), String> {
        let Packed(bytes) = message_pack::decode(value)?;
        let (keys, rest) = bytes.as_chunks::<ENCODED>();
        if !rest.is_empty() || !(1..=CHUNK).contains(&keys.len()) {
            return Err(format!(
                "keys in {} bytes: 1 to {CHUNK} times {ENCODED}",
                bytes.len()
            ));
        }
        let chunk = keys.iter().map(decoded);
        self.chunks.push((number, Arc::new(chunk.collect())));
        Ok(())
    }

    /// All entries are in.
    pub(crate) fn complete(&mut self) -> Result<(), String> {
        self.chunks.sort_unstable_by_key(|(number, _)| *number);
        let follow = |pair: &[(u64, Chunk)]| match pair {
            [(one, chunk), (next, _)] => Some(*next) == one.checked_add(1) && chunk.len() == CHUNK,
            _ => true,
        };
        let last = self.chunks.last().map_or(0, |(number, _)| *number);
        match self.chunks.windows(2).all(follow) && last < u64::MAX / CHUNK as u64 {
            true => Ok(()),
            false => Err("keys are missing in it".to_owned()),
        }
    }
}

fn decoded(bytes: &[u8; ENCODED]) -> KnownKey {
    let mut numbers = bytes.as_chunks::<8>().0.iter();
    let mut next = || numbers.next().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let mut wide = || u128::from(next()) | u128::from(next()) << 64;
    let (key, body) = (wide(), wide());
    KnownKey {
        mark: KeyMark {
            key,
            body,
            received_ms: next(),
        },
        lsn: Lsn::new(next()),
    }
}

/// Bytes that are bytes in MessagePack too.
struct Packed(Vec<u8>);

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfBytes;
        impl Visitor<'_> for OfBytes {
            type Value = Packed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Packed, E> {
                Ok(Packed(bytes.to_vec()))
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Packed, E> {
                Err(E::custom("text, not bytes"))
            }
        }
        deserializer
            .deserialize_bytes(OfBytes)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
