//! Making a batch of messages.

use crate::batch::read::{BEFORE_CHECKED, BEFORE_LENGTH, HEAD_BYTES, MAGIC};
use crate::batch::record;
use highwater_streams::RecordRef;

/// A batch of records whose first one has the offset `first`: uncompressed, of no producer. No
/// records are no batch.
pub(crate) fn batch<'a>(first: u64, records: impl Iterator<Item = RecordRef<'a>>) -> Vec<u8> {
    let mut out = vec![0; HEAD_BYTES];
    let (mut count, mut times, mut scratch) = (0_i32, None, Vec::new());
    for record in records {
        let time = record.timestamp_ms.unwrap_or(-1);
        let (base, max) = times.unwrap_or((time, time));
        times = Some((base, max.max(time)));
        record::write(&mut out, &record, count.into(), base, &mut scratch);
        count += 1;
    }
    let Some((base_time, max_time)) = times else {
        return Vec::new();
    };
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &first.to_be_bytes());
    put(16, &[MAGIC]);
    put(23, &(count - 1).to_be_bytes());
    put(27, &base_time.to_be_bytes());
    put(35, &max_time.to_be_bytes());
    // No producer: id, epoch and sequence are -1.
    put(43, &[0xff; 14]);
    put(57, &count.to_be_bytes());
    let length = u32::try_from(out.len().saturating_sub(BEFORE_LENGTH)).unwrap_or(u32::MAX);
    let checksum = crc32c::crc32c(out.get(BEFORE_CHECKED..).unwrap_or_default());
    let mut put = |at: usize, bytes: [u8; 4]| {
        if let Some(place) = out.get_mut(at..at + 4) {
            place.copy_from_slice(&bytes);
        }
    };
    put(8, length.to_be_bytes());
    put(17, checksum.to_be_bytes());
    out
}
