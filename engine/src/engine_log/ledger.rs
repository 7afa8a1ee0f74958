//! The producers and keys of a source twice: now, for who appends, and as of the last completed
//! batch, for the checkpoint after it.
//!
//! What was appended in between waits in order. So no batch has to be read, and decompressed, to
//! learn which marks it has.

use crate::codec::message_pack;
use crate::engine_log::envelope::Mark;
use crate::engine_log::keys::{KeyMark, Keys, SettledKeys};
use crate::engine_log::producers::Producers;
use crate::engine_log::received::{Received, SourceLag};
use highwater_checkpoint::entries::entries;
use highwater_wal::Lsn;
use serde::Deserialize;
use std::collections::VecDeque;

/// What a checkpoint keeps of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) producers: Producers,
    /// How many records the source has had: the number of the next one.
    pub(crate) next_number: u64,
    pub(crate) keys: SettledKeys,
}

impl Settled {
    /// From the entries of a checkpoint: a producer has a name, keys have a number.
    pub(crate) fn from_entries(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Key {
            Keys(u64),
            Producer(String),
        }
        let mut settled = Self::default();
        for entry in entries(bytes) {
            let (key, value) = entry.map_err(|e| e.to_string())?;
            match message_pack::decode(key)? {
                Key::Producer(name) => settled.producers.add(name, value)?,
                Key::Keys(number) => settled.keys.add(number, value)?,
            }
        }
        settled.keys.complete()?;
        Ok(settled)
    }

    /// For a checkpoint.
    pub(crate) fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut entries = self.producers.entries();
        entries.extend(self.keys.entries());
        entries
    }
}

/// The frames of a source that no completed batch has, in the order of the log: what each leaves
/// behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    /// The number after each frame's last record.
    numbers: VecDeque<(Lsn, u64)>,
    marks: VecDeque<(Lsn, Mark)>,
    /// When they were received, for observers.
    received: Received,
    /// Of frames that were found in the log: those that are appended have their place at once.
    keys: Vec<(Lsn, KeyMark)>,
}

impl Frames {
    /// Takes in the frame at `lsn`, which comes after all others.
    pub(crate) fn push(&mut self, lsn: Lsn, mark: Option<Mark>, next_number: Option<u64>) {
        self.numbers.extend(next_number.map(|next| (lsn, next)));
        self.marks.extend(mark.map(|mark| (lsn, mark)));
    }

    /// The frame at `lsn` has so many bytes of records, and was received at that time.
    pub(crate) fn received(&mut self, lsn: Lsn, bytes: u64, at_ms: u64) {
        self.received.push(lsn, bytes, at_ms);
    }

    /// The frame at `lsn` has a key.
    pub(crate) fn push_key(&mut self, lsn: Lsn, key: KeyMark) {
        self.keys.push((lsn, key));
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// How many producers have left marks, at most.
    pub(crate) fn marks(&self) -> impl Iterator<Item = &(Lsn, Mark)> {
        self.marks.iter()
    }
}

/// The producers of a source.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    now: Settled,
    settled: Settled,
    frames: Frames,
    /// Both now and as of the last completed batch.
    keys: Keys,
}

impl Ledger {
    /// From what a checkpoint has, and the frames after it.
    pub(crate) fn new(mut settled: Settled, mut frames: Frames) -> Self {
        let mut keys = Keys::new(&std::mem::take(&mut settled.keys));
        let found = std::mem::take(&mut frames.keys);
        found.into_iter().for_each(|(lsn, key)| keys.push(key, lsn));
        let mut now = settled.clone();
        apply(&mut now, frames.clone());
        Self {
            now,
            settled,
            frames,
            keys,
        }
    }

    /// The producers now.
    pub(crate) fn producers(&self) -> &Producers {
        &self.now.producers
    }

    /// The keys now.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// The number of the next record.
    pub(crate) fn next_number(&self) -> u64 {
        self.now.next_number
    }

    /// A frame with `records` records was appended at `lsn`.
    pub(crate) fn appended(&mut self, lsn: Lsn, mark: Option<Mark>, records: u64) {
        self.now.next_number += records;
        if let Some(mark) = &mark {
            self.now.producers.advance(mark.clone(), lsn);
        }
        self.frames.push(lsn, mark, Some(self.now.next_number));
    }

    /// The batch that ends at `end` is complete; how many records it had of the source.
    pub(crate) fn settle(&mut self, end: Lsn) -> u64 {
        let before = self.settled.next_number;
        self.keys.settle(end);
        let Frames {
            numbers,
            marks,
            received,
            ..
        } = &mut self.frames;
        received.settle(end);
        let below = Frames {
            numbers: front(numbers, end),
            marks: front(marks, end),
            ..Frames::default()
        };
        apply(&mut self.settled, below);
        self.settled.next_number.saturating_sub(before)
    }

    /// A frame that was appended has so many bytes of records, and was received at that time.
    pub(crate) fn received(&mut self, lsn: Lsn, bytes: u64, at_ms: u64) {
        self.frames.received(lsn, bytes, at_ms);
    }

    /// What no completed batch has.
    pub(crate) fn lag(&self) -> SourceLag {
        let settled = self.settled.next_number;
        SourceLag {
            records: self.now.next_number.saturating_sub(settled),
            bytes: self.frames.received.bytes(),
            oldest_received_ms: self.frames.received.oldest_ms(),
        }
    }

    /// The source as of the end of the last completed batch.
    pub(crate) fn settled(&self) -> Settled {
        Settled {
            keys: self.keys.settled(),
            ..self.settled.clone()
        }
    }
}

fn apply(settled: &mut Settled, frames: Frames) {
    if let Some((_, next)) = frames.numbers.back() {
        settled.next_number = settled.next_number.max(*next);
    }
    for (lsn, mark) in frames.marks {
        settled.producers.advance(mark, lsn);
    }
}

/// Takes what is below `end` from the front.
fn front<T>(queue: &mut VecDeque<(Lsn, T)>, end: Lsn) -> VecDeque<(Lsn, T)> {
    let below = queue.partition_point(|(lsn, _)| *lsn < end);
    let rest = queue.split_off(below);
    std::mem::replace(queue, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: u64) -> Option<Mark> {
        Some(Mark {
            producer: "p".into(),
            epoch: 0,
            sequence,
        })
    }

    fn sequence(settled: &Settled) -> Option<u64> {
        settled.producers.last("p").map(|at| at.sequence)
    }

    #[test]
    fn a_checkpoint_has_what_lies_below_its_end_and_nothing_else() {
        let mut frames = Frames::default();
        frames.push(Lsn::new(8), mark(1), Some(2));
        frames.push(Lsn::new(16), None, None);
        let mut ledger = Ledger::new(Settled::default(), frames);
        assert_eq!(ledger.next_number(), 2);
        assert_eq!(ledger.settled(), Settled::default());
        ledger.appended(Lsn::new(24), mark(2), 3);
        ledger.appended(Lsn::new(32), None, 1);
        assert_eq!((sequence(&ledger.now), ledger.next_number()), (Some(2), 6));
        let mut at = |end| {
            let records = ledger.settle(Lsn::new(end));
            let settled = ledger.settled();
            (sequence(&settled), settled.next_number, records)
        };
        assert_eq!(at(8), (None, 0, 0));
        assert_eq!(at(9), (Some(1), 2, 2));
        assert_eq!(at(24), (Some(1), 2, 0));
        assert_eq!(at(32), (Some(2), 5, 3));
        assert_eq!(at(40), (Some(2), 6, 1));
    }
}
