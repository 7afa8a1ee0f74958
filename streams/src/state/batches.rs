//! Producers that number their messages: what a retry is recognised by.

use crate::frame::batch::Batch;
use crate::frame::codec::{Bytes, put_number};
use crate::interface::refusal::Refusal;
use crate::state::producers::forget_oldest;
use std::collections::VecDeque;

/// As many batches of a producer are known: so many it may have under way without an answer.
const KEPT: usize = 5;

/// A batch that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Accepted {
    first: u32,
    count: u64,
    /// Where it begins.
    position: u64,
}

impl Accepted {
    /// The number that follows.
    fn next(&self) -> u32 {
        Batch::number_after(self.first, self.count)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    id: u64,
    epoch: u16,
    /// How many messages of the epoch were accepted, one after the other.
    messages: u64,
    /// The newest batches of the epoch, the oldest one first; never empty.
    accepted: VecDeque<Accepted>,
    /// LSN of the newest: the producer with the oldest is forgotten first.
    lsn: u64,
}

/// The producers of a stream, ordered by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Batches(Vec<Producer>);

/// What a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeenBatch {
    New,
    /// It was accepted before, and begins there.
    Before(u64),
}

impl Batches {
    /// Whether a batch of `count` messages is new.
    ///
    /// # Errors
    /// [`Refusal::StaleEpoch`], [`Refusal::Gap`], [`Refusal::OldRetry`].
    pub(crate) fn check(&self, batch: &Batch, count: u64) -> Result<SeenBatch, Refusal> {
        let Some(known) = self.find(batch.producer).ok().and_then(|at| self.0.get(at)) else {
            return Ok(SeenBatch::New);
        };
        let current = u64::from(known.epoch);
        if batch.epoch < known.epoch {
            return Err(Refusal::StaleEpoch { current });
        }
        let received = u64::from(batch.first);
        if batch.epoch > known.epoch {
            let expected = 0;
            return match batch.first {
                0 => Ok(SeenBatch::New),
                _ => Err(Refusal::Gap { expected, received }),
            };
        }
        let same = |one: &&Accepted| one.first == batch.first && one.count == count;
        if let Some(same) = known.accepted.iter().find(same) {
            return Ok(SeenBatch::Before(same.position));
        }
        let next = known.accepted.back().map_or(0, Accepted::next);
        let expected = u64::from(next);
        if batch.first == next {
            return Ok(SeenBatch::New);
        }
        // The producer may have begun anywhere: what it sent before that was not accepted, and to
        // call it a retry would lose it. What reaches beyond the end is no retry of anything
        // either.
        let ago = Batch::distance(batch.first, next);
        match (count..=known.messages.min(Batch::NUMBERS / 2)).contains(&ago) {
            true => Err(Refusal::OldRetry { expected, received }),
            false => Err(Refusal::Gap { expected, received }),
        }
    }

    /// A batch of `count` messages was accepted: position and LSN. With more than `most` producers,
    /// that of the oldest batch is forgotten. Tells whether one was.
    pub(crate) fn accept(
        &mut self,
        batch: Batch,
        count: u64,
        (position, lsn): (u64, u64),
        most: usize,
    ) -> bool {
        let first = batch.first;
        let newest = Accepted {
            first,
            count,
            position,
        };
        let at = self.find(batch.producer).unwrap_or_else(|at| {
            let new = Producer {
                id: batch.producer,
                epoch: batch.epoch,
                messages: 0,
                accepted: VecDeque::new(),
                lsn,
            };
            self.0.insert(at, new);
            at
        });
        if let Some(known) = self.0.get_mut(at) {
            if known.epoch != batch.epoch {
                known.accepted.clear();
                known.messages = 0;
            }
            (known.epoch, known.lsn) = (batch.epoch, lsn);
            known.messages = known.messages.saturating_add(count);
            if known.accepted.len() == KEPT {
                known.accepted.pop_front();
            }
            known.accepted.push_back(newest);
        }
        forget_oldest(&mut self.0, most, |known| known.lsn)
    }

    fn find(&self, id: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |known| known.id)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let kept = |known: &Producer| known.accepted.capacity() * size_of::<Accepted>();
        size_of::<Self>()
            + self.0.capacity() * size_of::<Producer>()
            + self.0.iter().map(kept).sum::<usize>()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.0.len() as u64);
        for known in &self.0 {
            put_number(out, known.id);
            put_number(out, known.epoch.into());
            put_number(out, known.lsn);
            put_number(out, known.messages);
            put_number(out, known.accepted.len() as u64);
            for one in &known.accepted {
                put_number(out, one.first.into());
                put_number(out, one.count);
                put_number(out, one.position);
            }
        }
    }

    pub(crate) fn decode(bytes: &mut Bytes<'_>) -> Option<Self> {
        let mut all: Vec<Producer> = Vec::new();
        for _ in 0..bytes.number()? {
            let mut known = Producer {
                id: bytes.number()?,
                epoch: u16::try_from(bytes.number()?).ok()?,
                lsn: bytes.number()?,
                messages: bytes.number()?,
                accepted: VecDeque::new(),
            };
            let count = bytes.number()?;
            if !(1..=KEPT as u64).contains(&count) {
                return None;
            }
            for _ in 0..count {
                known.accepted.push_back(Accepted {
                    first: Batch::number(bytes.number()?)?,
                    count: bytes.number()?,
                    position: bytes.number()?,
                });
            }
            if all.last().is_some_and(|last| last.id >= known.id) {
                return None;
            }
            all.push(known);
        }
        Some(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: u32 = 0x7fff_ffff;

    fn batch(producer: u64, epoch: u16, first: u32) -> Batch {
        Batch {
            producer,
            epoch,
            first,
        }
    }

    #[test]
    fn the_rules_of_epochs_and_numbers() {
        let mut known = Batches::default();
        let gap = |expected, received| Err(Refusal::Gap { expected, received });
        let old = |expected, received| Err(Refusal::OldRetry { expected, received });
        assert_eq!(known.check(&batch(1, 3, 70), 2), Ok(SeenBatch::New));
        known.accept(batch(1, 3, 70), 2, (500, 8), 9);
        assert_eq!(known.check(&batch(1, 3, 70), 2), Ok(SeenBatch::Before(500)));
        assert_eq!(known.check(&batch(1, 3, 72), 1), Ok(SeenBatch::New));
        assert_eq!(known.check(&batch(1, 3, 73), 1), gap(72, 73));
        assert_eq!(known.check(&batch(1, 3, 71), 1), old(72, 71));
        assert_eq!(known.check(&batch(1, 3, 71), 2), gap(72, 71), "it overlaps");
        let before = known.check(&batch(1, 3, 69), 1);
        assert_eq!(before, gap(72, 69), "the producer began after it");
        assert_eq!(
            known.check(&batch(1, 2, 72), 1),
            Err(Refusal::StaleEpoch { current: 3 })
        );
        assert_eq!(known.check(&batch(1, 4, 72), 1), gap(0, 72));
        assert_eq!(known.check(&batch(1, 4, 0), 1), Ok(SeenBatch::New));
        for (n, first) in (72..77).enumerate() {
            known.accept(batch(1, 3, first), 1, (502 + n as u64, 9), 9);
        }
        assert_eq!(
            known.check(&batch(1, 3, 70), 2),
            old(77, 70),
            "five are known"
        );
        assert_eq!(known.check(&batch(1, 3, 72), 1), Ok(SeenBatch::Before(502)));
    }

    #[test]
    fn numbers_begin_anew() {
        let mut known = Batches::default();
        known.accept(batch(1, 0, LAST - 1), 4, (0, 8), 9);
        assert_eq!(known.check(&batch(1, 0, 2), 1), Ok(SeenBatch::New));
        assert_eq!(
            known.check(&batch(1, 0, LAST - 1), 4),
            Ok(SeenBatch::Before(0))
        );
        let (expected, received) = (2, u64::from(LAST));
        let old = Err(Refusal::OldRetry { expected, received });
        assert_eq!(known.check(&batch(1, 0, LAST), 1), old);
        let (expected, received) = (2, 3);
        let gap = Err(Refusal::Gap { expected, received });
        assert_eq!(known.check(&batch(1, 0, 3), 1), gap);
    }

    #[test]
    fn the_producer_that_was_silent_for_longest_is_forgotten_and_the_others_come_back() {
        let mut known = Batches::default();
        for (lsn, id) in [3, 1, 2, 3].into_iter().enumerate() {
            let first = known.0.iter().any(|known| known.id == id).into();
            assert!(!known.accept(batch(id, 0, first), 1, (lsn as u64, lsn as u64), 3));
        }
        assert!(known.accept(batch(4, 0, 0), 1, (4, 9), 3));
        assert_eq!(
            known.check(&batch(1, 0, 7), 1),
            Ok(SeenBatch::New),
            "forgotten"
        );
        for id in [2, 3, 4] {
            assert!(matches!(
                known.check(&batch(id, 0, 0), 1),
                Ok(SeenBatch::Before(_))
            ));
        }
        let mut bytes = Vec::new();
        known.encode(&mut bytes);
        let mut read = Bytes(&bytes);
        assert_eq!(Batches::decode(&mut read), Some(known));
        assert!(read.is_empty());
        for len in 0..bytes.len() {
            assert_eq!(Batches::decode(&mut Bytes(&bytes[..len])), None);
        }
    }
}
