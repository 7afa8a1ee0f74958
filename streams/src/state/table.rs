//! All streams, by name and by number, in parts with a lock each.
//!
//! A stream is in the part that the hash of its name says. Its number has that part in its low
//! bits, so both ways to it take one lock.

use crate::state::stream::Stream;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};
use std::hash::BuildHasher;
use xxhash_rust::xxh3::xxh3_64;

/// Parts of the table: a power of two, and frozen, since numbers have it in them.
pub(crate) const PARTS: usize = 256;
const PART_BITS: u32 = PARTS.trailing_zeros();

/// Streams of one allocation.
const PAGE: usize = 32;

/// All streams.
#[derive(Debug)]
pub(crate) struct Table {
    parts: Vec<Mutex<Part>>,
}

/// The streams of one part.
#[derive(Debug)]
pub(crate) struct Part {
    index: u64,
    hash: RandomState,
    names: HashTable<u32>,
    numbers: HashTable<u32>,
    pages: Vec<Vec<Option<Stream>>>,
    free: Vec<u32>,
    /// Streams that end by themselves, or are not to keep everything.
    bounded: usize,
    /// How many numbers it has given.
    pub(crate) numbers_given: u64,
    /// LSN of the newest frame that is in it; 0 if none is.
    pub(crate) applied: u64,
    /// Streams that were removed since the last checkpoint.
    pub(crate) removed: Vec<u64>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let hash = RandomState::default();
        let part = |index| {
            Mutex::new(Part {
                index: index as u64,
                hash: hash.clone(),
                names: HashTable::new(),
                numbers: HashTable::new(),
                pages: Vec::new(),
                free: Vec::new(),
                bounded: 0,
                numbers_given: 0,
                applied: 0,
                removed: Vec::new(),
            })
        };
        Self {
            parts: (0..PARTS).map(part).collect(),
        }
    }

    /// The part of an index.
    pub(crate) fn part(&self, index: u64) -> MutexGuard<'_, Part> {
        let index = usize::try_from(index).unwrap_or_default() % PARTS;
        let part = self.parts.get(index);
        part.expect("there are as many as numbers can name").lock()
    }

    /// The part of a name.
    pub(crate) fn of_name(&self, name: &str) -> MutexGuard<'_, Part> {
        self.part(xxh3_64(name.as_bytes()))
    }

    /// The part of a stream's number.
    pub(crate) fn of_number(&self, number: u64) -> MutexGuard<'_, Part> {
        self.part(number)
    }

    /// The parts of two names; the second one is `None` if they are in the same part.
    pub(crate) fn of_names(
        &self,
        one: &str,
        other: &str,
    ) -> (MutexGuard<'_, Part>, Option<MutexGuard<'_, Part>>) {
        let [a, b] = [one, other].map(|name| xxh3_64(name.as_bytes()) % PARTS as u64);
        if a == b {
            return (self.part(a), None);
        }
        // Always in the same order, so that two of these never wait for each other.
        let low = self.part(a.min(b));
        let high = self.part(a.max(b));
        if a < b {
            (low, Some(high))
        } else {
            (high, Some(low))
        }
    }

    /// Each part in turn.
    pub(crate) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Part>> {
        self.parts.iter().map(Mutex::lock)
    }
}

impl Part {
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// A number that no stream had.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers_given << PART_BITS | self.index
    }

    /// The number was given.
    pub(crate) fn gave(&mut self, number: u64) {
        self.numbers_given = self.numbers_given.max((number >> PART_BITS) + 1);
    }

    /// Where the stream of a name is: good until a stream of the part is removed.
    pub(crate) fn slot_of_name(&self, name: &str) -> Option<u32> {
        let is_it = |slot: &u32| self.at(*slot).is_some_and(|stream| &*stream.name == name);
        self.names.find(self.hash.hash_one(name), is_it).copied()
    }

    pub(crate) fn slot_of_number(&self, number: u64) -> Option<u32> {
        let is_it = |slot: &u32| self.at(*slot).is_some_and(|stream| stream.number == number);
        self.numbers
            .find(self.hash.hash_one(number), is_it)
            .copied()
    }

    fn at(&self, slot: u32) -> Option<&Stream> {
        let (page, place) = split(slot);
        self.pages.get(page)?.get(place)?.as_ref()
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut Stream> {
        let (page, place) = split(slot);
        self.pages.get_mut(page)?.get_mut(place)?.as_mut()
    }

    pub(crate) fn numbered(&mut self, number: u64) -> Option<&mut Stream> {
        let slot = self.slot_of_number(number)?;
        self.at_mut(slot)
    }

    /// Adds a stream. If another one has its name, that one is found by its number alone.
    pub(crate) fn insert(&mut self, stream: Stream) -> u32 {
        self.gave(stream.number);
        self.bounded += usize::from(stream.is_bounded());
        let name = self.hash.hash_one(&*stream.name);
        let number = self.hash.hash_one(stream.number);
        if let Some(old) = self.slot_of_name(&stream.name)
            && let Ok(entry) = self.names.find_entry(name, |slot| *slot == old)
        {
            entry.remove();
        }
        let slot = self.put(stream);
        let (pages, hash) = (&self.pages, &self.hash);
        let of = |slot: &u32| {
            let (page, place) = split(*slot);
            pages.get(page).and_then(|page| page.get(place)?.as_ref())
        };
        self.names.insert_unique(name, slot, |slot| {
            of(slot).map_or(0, |s| hash.hash_one(&*s.name))
        });
        self.numbers.insert_unique(number, slot, |slot| {
            of(slot).map_or(0, |s| hash.hash_one(s.number))
        });
        slot
    }

    fn put(&mut self, stream: Stream) -> u32 {
        if let Some(slot) = self.free.pop() {
            let (page, place) = split(slot);
            if let Some(place) = self
                .pages
                .get_mut(page)
                .and_then(|page| page.get_mut(place))
            {
                *place = Some(stream);
            }
            return slot;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let pages = self.pages.len() - 1;
        let page = self.pages.last_mut().expect("one was added");
        page.push(Some(stream));
        let slot = pages * PAGE + page.len() - 1;
        u32::try_from(slot)
            .expect("a part has less than 4 billion streams: their number is bounded")
    }

    /// Removes a stream, and its name if that is still its own.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Stream> {
        let slot = self.slot_of_number(number)?;
        let name = self.hash.hash_one(&*self.at(slot)?.name);
        if let Ok(entry) = self.names.find_entry(name, |at| *at == slot) {
            entry.remove();
        }
        if let Ok(entry) = self
            .numbers
            .find_entry(self.hash.hash_one(number), |at| *at == slot)
        {
            entry.remove();
        }
        let (page, place) = split(slot);
        let stream = self.pages.get_mut(page)?.get_mut(place)?.take();
        self.free.push(slot);
        self.removed.push(number);
        let is_bounded = stream.as_ref().is_some_and(Stream::is_bounded);
        self.bounded -= usize::from(is_bounded);
        stream
    }

    /// Whether time or retention can change any of its streams.
    pub(crate) fn has_bounded(&self) -> bool {
        self.bounded > 0
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.pages.iter().flatten().flatten()
    }

    pub(crate) fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.pages.iter_mut().flatten().flatten()
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let tables = self.names.allocation_size() + self.numbers.allocation_size();
        let slots =
            self.pages.len() * (PAGE * size_of::<Option<Stream>>() + size_of::<Vec<Stream>>());
        let heap: usize = self.streams().map(Stream::heap_bytes).sum();
        tables + slots + heap + self.free.capacity() * 4 + self.removed.capacity() * 8
    }
}

fn split(slot: u32) -> (usize, usize) {
    let slot = slot as usize;
    (slot / PAGE, slot % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::config::{Config, Lifetime, Retention};
    use crate::frame::envelope::{Envelope, Kind, Place};
    use crate::frame::links::Links;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn stream(name: &str, number: u64) -> Stream {
        let config = Config {
            name,
            content_type: "text/plain",
            lifetime: Lifetime::Unlimited,
            fork: None,
            retention: Retention::default(),
        };
        let envelope = Envelope {
            kind: Kind::Create,
            stream: number,
            index: 0,
            first: Place::default(),
            length: Place::default(),
            received_ms: 0,
            links: Links::default(),
            closes: false,
            mark: None,
            batch: None,
            stream_sequence: None,
            config: None,
            start: None,
        };
        Stream::create(&envelope, &config, 8, &Arc::from("text/plain"))
    }

    proptest! {
        /// Against a map; a name may be taken again while its old stream is still there.
        #[test]
        fn a_part_finds_what_was_put_into_it(ops in proptest::collection::vec((0..3_u8, 0..40_u8), 0..300)) {
            let table = Table::new();
            let mut part = table.of_number(7);
            let (mut names, mut numbers) = (BTreeMap::new(), BTreeMap::new());
            for (op, which) in ops {
                let name = format!("stream {which}");
                match op {
                    0 | 1 => {
                        let number = part.next_number();
                        prop_assert_eq!(number & 255, 7);
                        part.insert(stream(&name, number));
                        names.insert(name.clone(), number);
                        numbers.insert(number, name);
                    }
                    _ => {
                        let Some(number) = numbers.keys().nth(usize::from(which) % numbers.len().max(1)).copied() else { continue };
                        let name = numbers.remove(&number).unwrap();
                        if names.get(&name) == Some(&number) {
                            names.remove(&name);
                        }
                        prop_assert_eq!(part.remove(number).map(|s| s.number), Some(number));
                        prop_assert!(part.remove(number).is_none());
                    }
                }
                for (name, number) in &names {
                    let slot = part.slot_of_name(name).unwrap();
                    prop_assert_eq!(part.at_mut(slot).map(|s| s.number), Some(*number));
                }
                for (number, name) in &numbers {
                    prop_assert_eq!(part.numbered(*number).map(|s| s.name.to_string()), Some(name.clone()));
                }
                prop_assert_eq!(part.len(), numbers.len());
                prop_assert_eq!(part.streams().count(), numbers.len());
            }
        }
    }
}
