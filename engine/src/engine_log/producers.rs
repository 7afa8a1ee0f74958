//! Which records of which producer are already in the log: what makes a retry count once.

use crate::codec::message_pack;
use crate::engine_log::frame_header::ProducerOffset;
use highwater_wal::Lsn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// At most this many producers are remembered per source. Beyond it, the quarter that was silent
/// longest is forgotten. So the window always holds at least three quarters of this number.
pub(crate) const MAX_PRODUCERS: usize = 65_536;

/// Highest sequence number of each producer of a source, and where its record is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producers {
    known: BTreeMap<String, (u64, Lsn)>,
}

impl Producers {
    /// Highest sequence number of `producer`, with the LSN of its record.
    pub(crate) fn last(&self, producer: &str) -> Option<(u64, Lsn)> {
        self.known.get(producer).copied()
    }

    /// Every producer with its highest sequence number and the LSN of its record.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, u64, Lsn)> {
        self.known
            .iter()
            .map(|(producer, (sequence, lsn))| (producer, *sequence, *lsn))
    }

    /// Takes in an offset that the log holds at `lsn`.
    pub(crate) fn advance(&mut self, offset: ProducerOffset, lsn: Lsn) {
        let entry = self
            .known
            .entry(offset.producer)
            .or_insert((offset.sequence, lsn));
        if entry.0 <= offset.sequence {
            *entry = (offset.sequence, lsn);
        }
        if self.known.len() > MAX_PRODUCERS {
            self.forget_oldest();
        }
    }

    /// Notes everything that `newer` knows.
    pub(crate) fn absorb(&mut self, newer: &Self) {
        for (producer, (sequence, lsn)) in &newer.known {
            self.advance(
                ProducerOffset {
                    producer: producer.clone(),
                    sequence: *sequence,
                },
                *lsn,
            );
        }
    }

    fn forget_oldest(&mut self) {
        let mut ages: Vec<Lsn> = self.known.values().map(|(_, lsn)| *lsn).collect();
        let (_, oldest_kept, _) = ages.select_nth_unstable(MAX_PRODUCERS / 4);
        let oldest_kept = *oldest_kept;
        self.known.retain(|_, (_, lsn)| *lsn >= oldest_kept);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// For a checkpoint.
    pub(crate) fn encode(&self) -> Vec<u8> {
        message_pack::encode(self).expect("a producer table serialises")
    }

    /// From a checkpoint.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        message_pack::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(producer: &str, sequence: u64) -> ProducerOffset {
        ProducerOffset {
            producer: producer.to_owned(),
            sequence,
        }
    }

    /// F67: a re-sent record is recognised, also after the table went through a checkpoint.
    #[test]
    fn the_highest_sequence_counts_and_survives_a_checkpoint() {
        let mut table = Producers::default();
        table.advance(offset("a", 5), Lsn::new(80));
        table.advance(offset("a", 3), Lsn::new(160));
        let table = Producers::decode(&table.encode()).unwrap();
        assert_eq!(table.last("a"), Some((5, Lsn::new(80))));
        assert_eq!(table.last("b"), None);
    }

    #[test]
    fn memory_is_bounded_and_the_silent_are_forgotten_first() {
        let mut table = Producers::default();
        for i in 0..=MAX_PRODUCERS as u64 {
            table.advance(offset(&format!("p{i}"), 1), Lsn::new(8 * i));
        }
        assert!(table.len() <= MAX_PRODUCERS && table.len() >= MAX_PRODUCERS / 4 * 3);
        assert_eq!(table.last("p0"), None);
        assert!(table.last(&format!("p{MAX_PRODUCERS}")).is_some());
    }
}
