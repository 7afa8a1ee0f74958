//! Frames that are recognised as a whole when they are sent again: by a number, or by a key.

use crate::engine_log::envelope::{IdempotencyKey, Mark};
use crate::engine_log::keys::{KeyMark, KeyWindow, body_hash};
use crate::engine_log::ledger::Ledger;
use crate::error::{Error, Result};
use crate::ingest::admission::Room;
use crate::ingest::source_writer::{Marks, SourceWriter};
use highwater_wal::Lsn;

/// By what a frame is recognised when it is sent again. It counts as a whole: a retry stores
/// nothing, also if it has other records.
///
/// A producer numbers the frames that it sends, each once. [`Self::Sequence`] and
/// [`Self::EpochSequence`] need one number for each producer in memory and find a retry however old
/// it is; [`Self::IdempotencyKey`] needs no order, and finds it within a [`KeyWindow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameId<'a> {
    /// Numbers ascend, and may leave some out. What is not above the last one is a retry.
    Sequence {
        /// Name of the producer.
        producer: &'a str,
        /// Number of the frame.
        sequence: u64,
    },
    /// Numbers follow each other without a gap, from 0. A producer that has lost its place begins a
    /// higher epoch, which ends all lower ones.
    EpochSequence {
        /// Name of the producer.
        producer: &'a str,
        /// Counts the producer's lives.
        epoch: u64,
        /// Number of the frame within the epoch.
        sequence: u64,
    },
    /// A key of 1 to 255 bytes that no other frame of the source has, such as a random UUID.
    IdempotencyKey(&'a [u8]),
}

impl FrameId<'_> {
    /// Longest key, in bytes.
    pub const MAX_KEY_BYTES: usize = 255;
}

/// What became of a frame. Nothing may be acknowledged before its LSN is durable, either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFrame {
    /// Its LSN. For a retry with a number that of the newest frame of its producer, for one with a
    /// key that of the frame which has the key.
    pub lsn: Lsn,
    /// It was in the log already, and was not stored again.
    pub is_duplicate: bool,
}

/// What is to be done with a frame.
enum Verdict {
    Store(Marks),
    Duplicate(Lsn),
}

impl SourceWriter {
    /// Appends records as one frame, unless the log has a frame with this id.
    pub(crate) fn append_frame(
        &self,
        id: FrameId<'_>,
        records: &[&[u8]],
        room: Room,
    ) -> Result<StoredFrame> {
        self.check(records.iter().copied())?;
        match id {
            FrameId::Sequence { producer, .. } | FrameId::EpochSequence { producer, .. } => {
                self.check_producer(producer)?;
            }
            FrameId::IdempotencyKey(key) => self.check_key(key)?,
        }
        let taken = self.make_room(records.len(), room)?;
        // Held across the append: otherwise two senders could both find it new.
        let mut ledger = self.ledger.lock();
        let marks = match self.verdict(&ledger, id, records)? {
            Verdict::Store(marks) => marks,
            Verdict::Duplicate(lsn) => {
                return Ok(StoredFrame {
                    lsn,
                    is_duplicate: true,
                });
            }
        };
        let lsn = self.frame(&mut ledger, marks, records.iter().copied())?;
        drop(ledger);
        taken.used(records.len());
        Ok(StoredFrame {
            lsn,
            is_duplicate: false,
        })
    }

    fn verdict(&self, ledger: &Ledger, id: FrameId<'_>, records: &[&[u8]]) -> Result<Verdict> {
        match id {
            FrameId::Sequence { producer, sequence } => {
                self.by_number(ledger, producer, (0, sequence), false)
            }
            FrameId::EpochSequence {
                producer,
                epoch,
                sequence,
            } => self.by_number(ledger, producer, (epoch, sequence), true),
            FrameId::IdempotencyKey(key) => self.by_key(ledger, key, records),
        }
    }

    fn by_number(
        &self,
        ledger: &Ledger,
        producer: &str,
        (epoch, sequence): (u64, u64),
        is_gapless: bool,
    ) -> Result<Verdict> {
        let known = self.not_fenced(ledger, producer, epoch)?;
        let of_epoch = known.filter(|known| known.epoch == epoch);
        if let Some(known) = of_epoch
            && sequence <= known.sequence
        {
            return Ok(Verdict::Duplicate(known.lsn));
        }
        let expected = of_epoch.map_or(Some(0), |known| known.sequence.checked_add(1));
        if is_gapless && expected != Some(sequence) {
            return Err(Error::SequenceGap {
                source_name: self.name.clone(),
                producer: producer.to_owned(),
                epoch,
                sequence,
                expected: expected.unwrap_or(u64::MAX),
                lsn: known.map(|known| known.lsn),
            });
        }
        Ok(Verdict::Store(Marks::from(Mark {
            producer: ledger.producers().name(producer),
            epoch,
            sequence,
        })))
    }

    fn by_key(&self, ledger: &Ledger, key: &[u8], records: &[&[u8]]) -> Result<Verdict> {
        let key = IdempotencyKey {
            key: key.to_vec(),
            body_hash: body_hash(records),
        };
        let mark = KeyMark::new(&key, self.admission.clock.wall_ms());
        match ledger.keys().get(&mark) {
            None => Ok(Verdict::Store(Marks {
                mark: None,
                key: Some(key),
            })),
            Some(known) if known.mark.body == mark.body => Ok(Verdict::Duplicate(known.lsn)),
            Some(known) => Err(Error::KeyReused {
                source_name: self.name.clone(),
                lsn: known.lsn,
            }),
        }
    }

    fn check_key(&self, key: &[u8]) -> Result<()> {
        if (1..=FrameId::MAX_KEY_BYTES).contains(&key.len()) {
            return Ok(());
        }
        let most = FrameId::MAX_KEY_BYTES;
        Err(Error::Record {
            name: self.name.clone(),
            index: None,
            bytes: key.len(),
            message: format!("an idempotency key has 1 to {most} bytes"),
        })
    }

    /// Sets how long keys are remembered, from now on.
    pub(crate) fn remember_keys(&self, window: KeyWindow) {
        let now_ms = self.admission.clock.wall_ms();
        self.ledger.lock().keys_mut().set_window(window, now_ms);
    }

    /// How many producers and keys were forgotten since the start because there were too many.
    pub(crate) fn forgotten(&self) -> u64 {
        let ledger = self.ledger.lock();
        ledger.producers().forgotten() + ledger.keys().forgotten()
    }
}
