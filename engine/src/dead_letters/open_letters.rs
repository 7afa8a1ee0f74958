//! Which letters are open: what the records of the store come to, in their order.

use crate::codec::message_pack;
use crate::dead_letters::letter::{LetterId, about};
use highwater_wal::{FrameKind, Lsn, StreamId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The stream of the store's records.
pub(super) const LETTERS: StreamId = StreamId(1);

/// The version of the store's records.
const VERSION: u8 = 1;

/// The first record of a frame of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The batch in which they failed.
    pub(super) batch: u64,
}

/// What happens to letters after they were put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mark {
    /// Letters of batches above this one are void: their batch was not committed, and runs again.
    Void { above: u64 },
    /// These letters are in the engine's log, in the frame at `lsn`: from there their operators get
    /// them. One that fails again is put aside again.
    Replayed { ids: Vec<LetterId>, lsn: Lsn },
}

/// Encodes a record of the store that is no letter.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    message_pack::encode_into(record, &mut bytes).expect("records of the store serialise");
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&VERSION, map)) => message_pack::decode(map),
        Some((version, _)) => Err(format!(
            "its version is {version}, and this program knows {VERSION}: it was written by a newer one, which must be used here"
        )),
        None => Err("it is empty".to_owned()),
    }
}

/// Where an open letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// The frame in the store ...
    pub(super) lsn: Lsn,
    /// ... and which of its records, the header being 0.
    pub(super) index: usize,
    /// The batch in which it failed last.
    pub(super) batch: u64,
}

/// The letters that are open. Its size is bounded by that of the store.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenLetters {
    pub(super) letters: BTreeMap<LetterId, At>,
    /// The newest batch of which there are letters.
    pub(super) newest: Option<u64>,
}

impl OpenLetters {
    /// Takes in the next frame of the store; an error says what is wrong with it.
    pub(super) fn note<'a>(
        &mut self,
        kind: FrameKind,
        lsn: Lsn,
        records: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), String> {
        let mut records = records.into_iter();
        let first = records.next().unwrap_or_default();
        match kind {
            FrameKind::Control => {
                self.apply(decode(first)?);
                Ok(())
            }
            FrameKind::Batch => {
                let Header { batch } = decode(first)?;
                self.newest = self.newest.max(Some(batch));
                for (letter, index) in records.zip(1..) {
                    let at = At { lsn, index, batch };
                    self.letters.insert(about(letter)?.id, at);
                }
                Ok(())
            }
            kind => Err(format!("a {kind:?} record")),
        }
    }

    fn apply(&mut self, mark: Mark) {
        match mark {
            Mark::Void { above } => {
                self.letters.retain(|_, at| at.batch <= above);
                self.newest = self
                    .newest
                    .filter(|newest| *newest <= above)
                    .or(Some(above));
            }
            Mark::Replayed { ids, .. } => ids.iter().for_each(|id| {
                self.letters.remove(id);
            }),
        }
    }

    /// Where the oldest open letter is.
    pub(super) fn oldest(&self) -> Option<Lsn> {
        self.letters.values().map(|at| at.lsn).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::letter::{About, Letter};
    use crate::refused::place::Place;

    fn id(lsn: u64) -> LetterId {
        LetterId {
            operator: "parse".to_owned(),
            batch: 1,
            place: Place::Log {
                lsn: Lsn::new(lsn),
                index: 1,
                input: 0,
            },
        }
    }

    fn put(open: &mut OpenLetters, batch: u64, at: u64, ids: &[u64]) {
        let letters = ids.iter().map(|lsn| {
            let about = About {
                id: id(*lsn),
                failed_in: batch,
                time_ms: 0,
                attempts: 1,
                error: String::new(),
            };
            let input = Vec::new();
            Letter { about, input }.encode().unwrap()
        });
        let records: Vec<Vec<u8>> = [encode(&Header { batch })]
            .into_iter()
            .chain(letters)
            .collect();
        let records = records.iter().map(Vec::as_slice);
        open.note(FrameKind::Batch, Lsn::new(at), records).unwrap();
    }

    fn mark(open: &mut OpenLetters, mark: &Mark) {
        let bytes = encode(mark);
        let records = [bytes.as_slice()];
        open.note(FrameKind::Control, Lsn::ZERO, records).unwrap();
    }

    fn open_ids(open: &OpenLetters) -> Vec<u64> {
        let ids = open.letters.keys().map(|id| match id.place {
            Place::Log { lsn, .. } => lsn.get(),
            Place::Batch { .. } => 0,
        });
        ids.collect()
    }

    #[test]
    fn letters_are_open_until_they_are_replayed_and_again_when_they_fail_again() {
        let mut open = OpenLetters::default();
        put(&mut open, 3, 8, &[100, 200]);
        assert_eq!(
            (open_ids(&open), open.oldest()),
            (vec![100, 200], Some(Lsn::new(8)))
        );
        let lsn = Lsn::new(1000);
        mark(
            &mut open,
            &Mark::Replayed {
                ids: vec![id(100)],
                lsn,
            },
        );
        assert_eq!(open_ids(&open), [200]);
        put(&mut open, 5, 80, &[100]);
        assert_eq!(open.letters[&id(100)].batch, 5);
        // Batch 5 was not committed: the letter is in the engine's log, and runs again.
        mark(&mut open, &Mark::Void { above: 4 });
        assert_eq!((open_ids(&open), open.newest), (vec![200], Some(4)));
    }

    #[test]
    fn records_of_newer_versions_are_refused() {
        let mut open = OpenLetters::default();
        let error = open.note(FrameKind::Control, Lsn::ZERO, [&[2_u8, 0][..]]);
        assert!(error.unwrap_err().contains("version is 2"));
        open.note(FrameKind::Control, Lsn::ZERO, []).unwrap_err();
        open.note(FrameKind::Data, Lsn::ZERO, [&[1_u8][..]])
            .unwrap_err();
    }
}
