//! Which records of which producer are already in the log: what makes a retry count once.

use crate::codec::message_pack;
use crate::engine_log::envelope::Mark;
use highwater_wal::Lsn;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// At most this many producers are remembered per source. Beyond it, the quarter that was silent
/// longest is forgotten. So the window always holds at least three quarters of this number.
pub(crate) const MAX_PRODUCERS: usize = 65_536;

/// How far a producer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Counts the producer's lives: a higher one begins its numbers again.
    pub(crate) epoch: u64,
    /// Highest sequence number of the epoch.
    pub(crate) sequence: u64,
    /// Where its record is.
    pub(crate) lsn: Lsn,
}

/// How far each producer of a source is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    known: BTreeMap<Arc<str>, Progress>,
    /// How many were forgotten because there were too many.
    forgotten: u64,
}

/// The table in a checkpoint of format 1.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Encoded {
    /// As the first version wrote it: sequence and LSN.
    known: BTreeMap<String, (u64, Lsn)>,
    /// Epoch, sequence and LSN.
    producers: BTreeMap<String, (u64, u64, Lsn)>,
}

impl Producers {
    /// How far `producer` is.
    pub(crate) fn last(&self, producer: &str) -> Option<Progress> {
        self.known.get(producer).copied()
    }

    /// The name as the table has it, so that it is kept once.
    pub(crate) fn name(&self, producer: &str) -> Arc<str> {
        let known = self.known.get_key_value(producer);
        known.map_or_else(|| producer.into(), |(name, _)| Arc::clone(name))
    }

    /// Every producer, and how far it is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Progress)> {
        self.known
            .iter()
            .map(|(producer, progress)| (&**producer, *progress))
    }

    /// Takes in a mark that the log holds at `lsn`.
    pub(crate) fn advance(&mut self, mark: Mark, lsn: Lsn) {
        let progress = Progress {
            epoch: mark.epoch,
            sequence: mark.sequence,
            lsn,
        };
        let entry = self.known.entry(mark.producer).or_insert(progress);
        if (entry.epoch, entry.sequence) <= (mark.epoch, mark.sequence) {
            *entry = progress;
        }
        if self.known.len() > MAX_PRODUCERS {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let mut ages: Vec<Lsn> = self.known.values().map(|progress| progress.lsn).collect();
        let (_, oldest_kept, _) = ages.select_nth_unstable(MAX_PRODUCERS / 4);
        let oldest_kept = *oldest_kept;
        let before = self.known.len();
        self.known.retain(|_, progress| progress.lsn >= oldest_kept);
        self.forgotten += (before - self.known.len()) as u64;
    }

    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// For a checkpoint: an entry for each.
    pub(crate) fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entries = self.known.iter().map(|(producer, at)| {
            let at = (at.epoch, at.sequence, at.lsn);
            let key = message_pack::encode(&**producer).expect("a name serialises");
            (key, message_pack::encode(&at).expect("numbers serialise"))
        });
        entries.collect()
    }

    /// Takes in an entry of a checkpoint.
    pub(crate) fn add(&mut self, name: String, at: &[u8]) -> Result<(), String> {
        let (epoch, sequence, lsn) = message_pack::decode(at)?;
        let progress = Progress {
            epoch,
            sequence,
            lsn,
        };
        self.known.insert(name.into(), progress);
        Ok(())
    }

    /// From a checkpoint of format 1, which has a table as one value.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let encoded: Encoded = message_pack::decode(bytes)?;
        let first_version = encoded.known.into_iter();
        let first_version = first_version.map(|(name, (sequence, lsn))| (name, (0, sequence, lsn)));
        let all = first_version.chain(encoded.producers);
        let known = all.map(|(name, (epoch, sequence, lsn))| {
            let progress = Progress {
                epoch,
                sequence,
                lsn,
            };
            (name.into(), progress)
        });
        Ok(Self {
            known: known.collect(),
            forgotten: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    fn mark(producer: &str, epoch: u64, sequence: u64) -> Mark {
        Mark {
            producer: producer.into(),
            epoch,
            sequence,
        }
    }

    fn at(epoch: u64, sequence: u64, lsn: u64) -> Option<Progress> {
        Some(Progress {
            epoch,
            sequence,
            lsn: Lsn::new(lsn),
        })
    }

    /// The table as it comes back from a checkpoint.
    fn checkpointed(table: &Producers) -> Producers {
        let mut back = Producers::default();
        for (name, at) in table.entries() {
            back.add(message_pack::decode(&name).unwrap(), &at).unwrap();
        }
        back
    }

    /// F67: a re-sent record is recognised, also after the table went through a checkpoint.
    #[test]
    fn the_highest_sequence_of_the_highest_epoch_counts_and_survives_a_checkpoint() {
        let mut table = Producers::default();
        table.advance(mark("a", 0, 5), Lsn::new(80));
        table.advance(mark("a", 0, 3), Lsn::new(160));
        table.advance(mark("b", 1, 9), Lsn::new(240));
        table.advance(mark("b", 2, 0), Lsn::new(320));
        table.advance(mark("b", 1, 10), Lsn::new(400));
        let table = checkpointed(&table);
        assert_eq!(table.last("a"), at(0, 5, 80));
        assert_eq!(table.last("b"), at(2, 0, 320));
        assert_eq!(table.last("c"), None);
    }

    #[test]
    fn a_table_of_version_1_is_read() {
        #[derive(Serialize)]
        struct Old {
            known: BTreeMap<&'static str, (u64, Lsn)>,
        }
        let known = BTreeMap::from([("a", (5, Lsn::new(80)))]);
        let old = message_pack::encode(&Old { known }).unwrap();
        let table = Producers::decode(&old).unwrap();
        assert_eq!((table.last("a"), table.len()), (at(0, 5, 80), 1));
    }

    #[test]
    fn memory_is_bounded_and_the_silent_are_forgotten_first() {
        let mut table = Producers::default();
        for i in 0..=MAX_PRODUCERS as u64 {
            table.advance(mark(&format!("p{i}"), 0, 1), Lsn::new(8 * i));
        }
        assert!(table.len() <= MAX_PRODUCERS && table.len() >= MAX_PRODUCERS / 4 * 3);
        assert_eq!(table.last("p0"), None);
        assert!(table.last(&format!("p{MAX_PRODUCERS}")).is_some());
    }
}
