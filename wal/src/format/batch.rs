//! The payload of a batch: a count, then each record behind its length.

use crate::format::layout::{BATCH_COUNT_SIZE, to_usize};

/// Encodes the payload of a batch, or tells its size if that is over `max`.
pub(crate) fn encode_batch<T: AsRef<[u8]>>(records: &[T], max: usize) -> Result<Vec<u8>, usize> {
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
    for record in records {
        payload.extend_from_slice(&length_prefix(record.len()));
        payload.extend_from_slice(record);
    }
    Ok(payload)
}

fn length_prefix(len: usize) -> [u8; BATCH_COUNT_SIZE] {
    u32::try_from(len)
        .expect("counts and lengths are below the record limit")
        .to_le_bytes()
}

/// Splits the next record off `rest`, the undecoded part of a batch.
pub(crate) fn split_record(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = rest.split_first_chunk::<BATCH_COUNT_SIZE>()?;
    rest.split_at_checked(to_usize(u64::from(u32::from_le_bytes(*prefix))))
}

/// The number of records of a batch and their bytes, if the payload is a well-formed batch.
pub(crate) fn open_batch(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (prefix, records) = payload.split_first_chunk::<BATCH_COUNT_SIZE>()?;
    let count = u32::from_le_bytes(*prefix);
    let mut rest = records;
    for _ in 0..count {
        rest = split_record(rest)?.1;
    }
    rest.is_empty().then_some((count, records))
}
