//! The payload of a batch: a count, then each record after its length.

use crate::format::frame::FrameKind;
use crate::format::layout::{BATCH_COUNT_SIZE, to_usize};

/// Encodes the payload of a batch, or returns its size if that is over `max`. Returns the number of
/// records, too.
pub(crate) fn encode_batch<T: AsRef<[u8]>>(
    records: impl IntoIterator<Item = T>,
    max: usize,
) -> Result<(Vec<u8>, usize), usize> {
    let records: Vec<T> = records.into_iter().collect();
    // Each is asked once: its answers may differ.
    let records: Vec<&[u8]> = records.iter().map(AsRef::as_ref).collect();
    let bytes: usize = records
        .iter()
        .map(|r| BATCH_COUNT_SIZE.saturating_add(r.len()))
        .sum();
    let size = BATCH_COUNT_SIZE + bytes;
    if size > max {
        return Err(size);
    }
    let mut payload = Vec::with_capacity(size);
    payload.extend_from_slice(&length_prefix(records.len()));
    for record in &records {
        payload.extend_from_slice(&length_prefix(record.len()));
        payload.extend_from_slice(record);
    }
    Ok((payload, records.len()))
}

fn length_prefix(len: usize) -> [u8; BATCH_COUNT_SIZE] {
    u32::try_from(len)
        .expect("counts and lengths are below the record limit")
        .to_le_bytes()
}

/// Splits the payload of a frame into its records, the one place that does.
///
/// It borrows nothing, so that a record can outlive the step that found it: give it the same
/// payload each time.
#[derive(Debug, Clone)]
pub(crate) struct RecordSplitter {
    kind: FrameKind,
    /// Where the next record's length starts in the payload.
    at: usize,
    index: u32,
}

impl RecordSplitter {
    /// For a frame of this kind, decompressed.
    pub(crate) fn new(kind: FrameKind) -> Self {
        Self {
            kind,
            at: BATCH_COUNT_SIZE,
            index: 0,
        }
    }

    /// The next record: its number, where it starts in `payload`, its bytes.
    #[inline]
    pub(crate) fn next<'a>(&mut self, payload: &'a [u8]) -> Option<(u32, usize, &'a [u8])> {
        let (start, bytes) = match self.kind {
            FrameKind::Batch => {
                let (bytes, _) = split_record(payload.get(self.at..)?)?;
                (self.at + BATCH_COUNT_SIZE, bytes)
            }
            FrameKind::Data | FrameKind::Control if self.index == 0 => (0, payload),
            FrameKind::Data
            | FrameKind::Control
            | FrameKind::DurableLsn
            | FrameKind::Seal
            | FrameKind::Close
            | FrameKind::Padding
            | FrameKind::DurableAt
            | FrameKind::Void
            | FrameKind::Cursor => return None,
        };
        let index = self.index;
        self.at = start + bytes.len();
        self.index += 1;
        Some((index, start, bytes))
    }
}

impl RecordSplitter {
    /// Whether all records of `payload` were returned.
    pub(crate) fn is_at_end(&self, payload: &[u8]) -> bool {
        self.at >= payload.len()
    }
}

/// The number of records of a batch; `None` if the payload is not a well-formed batch.
pub(crate) fn batch_count(payload: &[u8]) -> Option<u32> {
    let (prefix, mut rest) = payload.split_first_chunk::<BATCH_COUNT_SIZE>()?;
    let count = u32::from_le_bytes(*prefix);
    for _ in 0..count {
        rest = split_record(rest)?.1;
    }
    rest.is_empty().then_some(count)
}

/// Splits the next record off the rest of a batch.
#[inline]
fn split_record(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = rest.split_first_chunk::<BATCH_COUNT_SIZE>()?;
    rest.split_at_checked(to_usize(u64::from(u32::from_le_bytes(*prefix))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// F41, F87: arbitrary bytes never panic.
        #[test]
        fn junk_is_opened_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = batch_count(&bytes);
        }

        #[test]
        fn batches_read_back(records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9)) {
            let (payload, count) = encode_batch(&records, 1 << 20).unwrap();
            prop_assert_eq!(count, records.len());
            prop_assert_eq!(batch_count(&payload).unwrap() as usize, records.len());
            let mut splitter = RecordSplitter::new(FrameKind::Batch);
            for (index, record) in (0..).zip(&records) {
                let (number, at, bytes) = splitter.next(&payload).unwrap();
                prop_assert_eq!(number, index);
                prop_assert_eq!(bytes, &record[..]);
                prop_assert_eq!(bytes, &payload[at..at + bytes.len()]);
            }
            prop_assert_eq!(splitter.next(&payload), None);
        }
    }
}
