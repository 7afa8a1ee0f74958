//! Taking a batch apart that a client has sent.

use crate::batch::codec::Codec;
use crate::batch::record::{self, Base};
use crate::batch::refused::Refused;
use crate::wire::error::Code;
use highwater_streams::{Batch as Numbered, RecordRef};
use std::borrow::Cow;

/// Bytes before the records.
pub(crate) const HEAD_BYTES: usize = 61;
/// Bytes that the length of a batch does not count: its offset, and the length.
pub(crate) const BEFORE_LENGTH: usize = 12;
/// Bytes that the checksum does not cover.
pub(crate) const BEFORE_CHECKED: usize = 21;
/// Where the version is.
const MAGIC_AT: usize = 16;
/// The version.
pub(crate) const MAGIC: u8 = 2;

const CODEC: u16 = 0b111;
const LOG_APPEND_TIME: u16 = 1 << 3;
const TRANSACTIONAL: u16 = 1 << 4;
const CONTROL: u16 = 1 << 5;
const NONE: i64 = -1;

/// A batch whose checksum is right.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// Who has sent it, if it numbers its records.
    pub(crate) producer: Option<Numbered>,
    base: Base,
    records: Cow<'a, [u8]>,
}

/// The numbers before the records, from the checked part on.
#[derive(Debug)]
struct Head {
    attributes: u16,
    last_offset: i32,
    first_timestamp: i64,
    max_timestamp: i64,
    producer: i64,
    epoch: i16,
    sequence: i32,
    count: i32,
}

impl<'a> Batch<'a> {
    /// Reads a batch, whose records have at most `max` bytes.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(crate) fn read(bytes: &'a [u8], max: usize) -> Result<Self, Refused> {
        match bytes.get(MAGIC_AT) {
            Some(&MAGIC) => {}
            Some(0 | 1) => {
                let reason = "messages of versions 0 and 1 are not taken: clients since Kafka 0.11 send batches";
                return Err(Refused::new(Code::UnsupportedForMessageFormat, reason));
            }
            Some(other) => return Err(Refused::corrupt(format!("it has the version {other}"))),
            None => return Err(Refused::corrupt("it is shorter than its head")),
        }
        let length = chunk(bytes, 8).map(u32::from_be_bytes);
        let expected = bytes.len().checked_sub(BEFORE_LENGTH);
        if length.and_then(|length| usize::try_from(length).ok()) != expected {
            return Err(Refused::corrupt(
                "its length is wrong: a partition takes one batch of a request",
            ));
        }
        let checksum = chunk(bytes, MAGIC_AT + 1).map(u32::from_be_bytes);
        let checked = bytes.get(BEFORE_CHECKED..).unwrap_or_default();
        if checksum != Some(crc32c::crc32c(checked)) {
            return Err(Refused::corrupt("its checksum is wrong"));
        }
        let records = bytes.get(HEAD_BYTES..);
        let head = Head::read(checked).zip(records);
        let (head, records) =
            head.ok_or_else(|| Refused::corrupt("it is shorter than its head"))?;
        let base = head.base()?;
        let producer = head.numbered()?;
        let records = Codec::of(head.attributes & CODEC)?.decompress(records, max)?;
        Ok(Self {
            producer,
            base,
            records,
        })
    }

    /// How many bytes its records have, decompressed.
    pub(crate) fn record_bytes(&self) -> usize {
        self.records.len()
    }

    /// Calls `each` with every record.
    ///
    /// # Errors
    /// If they are not as many as it says, or damaged; those of `each`.
    pub(crate) fn each(
        &self,
        each: impl FnMut(&RecordRef<'_>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        record::each_record(&self.records, self.base, each)
    }
}

impl Head {
    fn read(checked: &[u8]) -> Option<Self> {
        Some(Self {
            attributes: chunk(checked, 0).map(u16::from_be_bytes)?,
            last_offset: chunk(checked, 2).map(i32::from_be_bytes)?,
            first_timestamp: chunk(checked, 6).map(i64::from_be_bytes)?,
            max_timestamp: chunk(checked, 14).map(i64::from_be_bytes)?,
            producer: chunk(checked, 22).map(i64::from_be_bytes)?,
            epoch: chunk(checked, 30).map(i16::from_be_bytes)?,
            sequence: chunk(checked, 32).map(i32::from_be_bytes)?,
            count: chunk(checked, 36).map(i32::from_be_bytes)?,
        })
    }

    fn base(&self) -> Result<Base, Refused> {
        if self.attributes & TRANSACTIONAL != 0 {
            let reason = "Highwater has no transactions: use an idempotent producer";
            return Err(Refused::new(
                Code::TransactionalIdAuthorizationFailed,
                reason,
            ));
        }
        if self.attributes & CONTROL != 0 {
            return Err(Refused::invalid("clients send no control batches"));
        }
        let count = match u64::try_from(self.count) {
            Ok(count) if count > 0 => count,
            _ => return Err(Refused::invalid("it has no records")),
        };
        if i64::from(self.last_offset) != i64::from(self.count) - 1 {
            return Err(Refused::invalid(
                "its last offset does not follow from how many records it has",
            ));
        }
        let has_one_time = self.attributes & LOG_APPEND_TIME != 0;
        Ok(Base {
            count,
            timestamp: self.first_timestamp,
            same_timestamp: has_one_time.then_some(self.max_timestamp),
        })
    }

    fn numbered(&self) -> Result<Option<Numbered>, Refused> {
        if self.producer == NONE {
            return Ok(None);
        }
        let numbered = (
            u64::try_from(self.producer),
            u16::try_from(self.epoch),
            u32::try_from(self.sequence),
        );
        let (Ok(producer), Ok(epoch), Ok(first)) = numbered else {
            return Err(Refused::invalid(
                "its producer has an id, and no epoch or sequence",
            ));
        };
        Ok(Some(Numbered {
            producer,
            epoch,
            first,
        }))
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
