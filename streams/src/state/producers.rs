//! Who has appended to a stream, and how far: what a retry is recognised by.

use crate::frame::codec::{Bytes, put_bytes, put_number};
use crate::frame::envelope::Mark;
use crate::interface::refusal::Refusal;

/// The newest accepted request of a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    id: Box<str>,
    epoch: u64,
    sequence: u64,
    /// LSN of that request: the one with the oldest is forgotten first.
    lsn: u64,
}

/// The producers of a stream, ordered by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Producers(Vec<Producer>);

/// What a producer's request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    New,
    /// It was accepted before. The highest sequence that was accepted.
    Before(u64),
}

impl Producers {
    /// Whether a request is new.
    ///
    /// # Errors
    /// [`Refusal::StaleEpoch`], [`Refusal::EpochBegin`], [`Refusal::Gap`].
    pub(crate) fn check(&self, mark: &Mark<'_>) -> Result<Seen, Refusal> {
        let Some(known) = self.find(mark.producer).ok().and_then(|at| self.0.get(at)) else {
            return match mark.sequence {
                0 => Ok(Seen::New),
                received => Err(Refusal::Gap {
                    expected: 0,
                    received,
                }),
            };
        };
        if mark.epoch < known.epoch {
            let current = known.epoch;
            return Err(Refusal::StaleEpoch { current });
        }
        if mark.epoch > known.epoch {
            return match mark.sequence {
                0 => Ok(Seen::New),
                _ => Err(Refusal::EpochBegin),
            };
        }
        let expected = known.sequence.saturating_add(1);
        match mark.sequence {
            received if received < expected => Ok(Seen::Before(known.sequence)),
            received if received == expected => Ok(Seen::New),
            received => Err(Refusal::Gap { expected, received }),
        }
    }

    /// A request was accepted. With more than `most` producers, that of the oldest request is
    /// forgotten. Tells whether one was.
    pub(crate) fn accept(&mut self, mark: &Mark<'_>, lsn: u64, most: usize) -> bool {
        let newest = Producer {
            id: mark.producer.into(),
            epoch: mark.epoch,
            sequence: mark.sequence,
            lsn,
        };
        match self.find(mark.producer) {
            Ok(at) => {
                if let Some(known) = self.0.get_mut(at) {
                    *known = newest;
                }
            }
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, newest);
            }
        }
        forget_oldest(&mut self.0, most, |known| known.lsn)
    }

    fn find(&self, id: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|known| (*known.id).cmp(id))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let ids = self.0.iter().map(|known| known.id.len());
        self.0.capacity() * size_of::<Producer>() + ids.sum::<usize>()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.0.len() as u64);
        for known in &self.0 {
            put_bytes(out, known.id.as_bytes());
            put_number(out, known.epoch);
            put_number(out, known.sequence);
            put_number(out, known.lsn);
        }
    }

    pub(crate) fn decode(bytes: &mut Bytes<'_>) -> Option<Self> {
        let mut all: Vec<Producer> = Vec::new();
        for _ in 0..bytes.number()? {
            let known = Producer {
                id: bytes.text()?.into(),
                epoch: bytes.number()?,
                sequence: bytes.number()?,
                lsn: bytes.number()?,
            };
            if all.last().is_some_and(|last| last.id >= known.id) {
                return None;
            }
            all.push(known);
        }
        Some(Self(all))
    }
}

/// With more than `most` producers, the one whose newest LSN is the lowest is forgotten. Tells
/// whether one was.
pub(crate) fn forget_oldest<P>(all: &mut Vec<P>, most: usize, lsn: impl Fn(&P) -> u64) -> bool {
    if all.len() <= most {
        return false;
    }
    let oldest = all.iter().enumerate().min_by_key(|(_, known)| lsn(known));
    if let Some((at, _)) = oldest {
        all.remove(at);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(producer: &str, epoch: u64, sequence: u64) -> Mark<'_> {
        Mark {
            producer,
            epoch,
            sequence,
        }
    }

    #[test]
    fn the_rules_of_epochs_and_sequences() {
        let mut known = Producers::default();
        let gap = |expected, received| Err(Refusal::Gap { expected, received });
        assert_eq!(known.check(&mark("a", 0, 1)), gap(0, 1));
        assert_eq!(known.check(&mark("a", 7, 0)), Ok(Seen::New));
        known.accept(&mark("a", 7, 0), 8, 10);
        assert_eq!(known.check(&mark("a", 7, 0)), Ok(Seen::Before(0)));
        assert_eq!(known.check(&mark("a", 7, 1)), Ok(Seen::New));
        assert_eq!(known.check(&mark("a", 7, 2)), gap(1, 2));
        assert_eq!(
            known.check(&mark("a", 6, 0)),
            Err(Refusal::StaleEpoch { current: 7 })
        );
        assert_eq!(known.check(&mark("a", 8, 1)), Err(Refusal::EpochBegin));
        assert_eq!(known.check(&mark("a", 8, 0)), Ok(Seen::New));
        assert_eq!(known.check(&mark("b", 0, 0)), Ok(Seen::New));
    }

    #[test]
    fn the_producer_that_was_silent_for_longest_is_forgotten() {
        let mut known = Producers::default();
        for (lsn, id) in ["c", "a", "b", "c"].into_iter().enumerate() {
            assert!(!known.accept(&mark(id, 0, 0), lsn as u64, 3));
        }
        assert!(known.accept(&mark("d", 0, 0), 9, 3));
        assert_eq!(known.check(&mark("a", 0, 0)), Ok(Seen::New), "forgotten");
        for id in ["b", "c", "d"] {
            assert_eq!(known.check(&mark(id, 0, 0)), Ok(Seen::Before(0)));
        }
        let mut bytes = Vec::new();
        known.encode(&mut bytes);
        assert_eq!(Producers::decode(&mut Bytes(&bytes)), Some(known));
    }
}
