//! What the fuzzer feeds: the bytes of a request, and those of a batch whose checksum is right.

use crate::batch::read::Batch;
use crate::batch::write;
use crate::messages::{
    coordinator, fetch, metadata, offsets, produce, producer_id, sasl, versions,
};
use crate::wire::header::{Api, Asked, Head};
use crate::wire::reader::MAX_ITEMS;
use highwater_streams::RecordRef;

/// The records of a batch have at most so many bytes.
const MAX: usize = 64 << 10;

/// A request from its key on. It is read, or malformed; what is read of it is bounded.
///
/// # Panics
/// If it has more items than a request may have.
#[cfg_attr(
    not(fuzzing),
    expect(unreachable_pub, reason = "the fuzzer calls it from outside")
)]
pub fn request(frame: &[u8]) {
    let Ok((head, Asked::Offered(offer, reader))) = Head::read(frame) else {
        return;
    };
    let version = head.version;
    let items = match offer.api {
        Api::Produce => produce::read(version, reader).map_or(0, |read| {
            let partitions = read.topics.iter().map(|(_, partitions)| partitions.len());
            read.topics.len() + partitions.sum::<usize>()
        }),
        Api::Fetch => fetch::read(version, reader).map_or(0, |read| read.topics.len()),
        Api::ListOffsets => offsets::read(version, reader).map_or(0, |read| read.len()),
        Api::Metadata => metadata::read(version, reader)
            .map_or(0, |read| read.topics.map_or(0, |topics| topics.len())),
        Api::FindCoordinator => coordinator::read(version, reader).map_or(0, |_| 0),
        Api::SaslHandshake => sasl::read_handshake(reader).map_or(0, usize::from),
        Api::Versions => versions::read(head, reader).map_or(0, |()| 0),
        Api::InitProducerId => producer_id::read(version, reader).map_or(0, usize::from),
        Api::SaslAuthenticate => sasl::read_authenticate(reader)
            .ok()
            .and_then(sasl::read_plain)
            .map_or(0, |_| 0),
    };
    assert!(items <= MAX_ITEMS, "{items} items");
}

/// The attributes of a batch, how many records it says it has, and its records. It is refused, or
/// has as many; and what was read of it is the same when it is written and read again.
///
/// # Panics
/// If not.
#[cfg_attr(
    not(fuzzing),
    expect(unreachable_pub, reason = "the fuzzer calls it from outside")
)]
pub fn batch(data: &[u8]) {
    let Some(([attributes, count], records)) = data.split_first_chunk() else {
        return;
    };
    let count = i32::from(*count);
    let mut bytes = vec![0; 61];
    bytes.extend_from_slice(records);
    let length = u32::try_from(bytes.len() - 12).unwrap_or(u32::MAX);
    let mut put = |at: usize, part: &[u8]| {
        for (place, byte) in bytes.iter_mut().skip(at).zip(part) {
            *place = *byte;
        }
    };
    put(8, &length.to_be_bytes());
    put(16, &[2]);
    put(22, &[*attributes]);
    put(23, &(count - 1).to_be_bytes());
    put(43, &[0xff; 14]);
    put(57, &count.to_be_bytes());
    let checksum = crc32c::crc32c(bytes.get(21..).unwrap_or_default());
    for (place, byte) in bytes.iter_mut().skip(17).zip(checksum.to_be_bytes()) {
        *place = byte;
    }
    let Some(found) = read(&bytes) else {
        return;
    };
    assert_eq!(i32::try_from(found.len()), Ok(count));
    let all = found
        .iter()
        .filter_map(|message| RecordRef::decode(message));
    let again = write::batch(7, all);
    assert_eq!(read(&again), Some(found));
}

/// The records of a batch as messages.
fn read(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    let batch = Batch::read(bytes, MAX).ok()?;
    let read = batch.each(|record| {
        all.push(record.encode());
        Ok(())
    });
    read.ok().map(|()| all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header::OFFERED;
    use proptest::prelude::*;

    fn like_a_request() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(vec![0, 0, 0, 1]),
            Just(vec![0, 1, b't']),
            Just(vec![2, b't']),
            Just(vec![0xff; 2]),
            Just(vec![0xff; 4]),
            Just(vec![0x7f, 0xff, 0xff, 0xff]),
            Just(vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
            Just(vec![0]),
            Just(vec![1]),
            proptest::collection::vec(any::<u8>(), 0..5),
        ];
        let pieces = proptest::collection::vec(piece, 0..20);
        let offer = proptest::sample::select(OFFERED.to_vec());
        (offer, 0..13_i16, pieces).prop_map(|(offer, version, pieces)| {
            let version = version.clamp(offer.from, offer.to);
            let head = [offer.key.to_be_bytes(), version.to_be_bytes()].concat();
            let rest = [0, 0, 0, 1, 0xff, 0xff];
            [&head[..], &rest, &pieces.concat()].concat()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn requests_are_read_or_malformed(frame in like_a_request()) {
            request(&frame);
        }

        #[test]
        fn batches_are_what_they_say(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            batch(&data);
        }

        /// Records of a batch that are sound but for one byte.
        #[test]
        fn nearly_sound_batches_are_what_they_say(values in proptest::collection::vec(any::<Vec<u8>>(), 1..5), at: prop::sample::Index, byte: u8) {
            let records = values.iter().map(|value| RecordRef {
                key: value.first_chunk::<2>().map(|key| &key[..]),
                value: Some(value),
                headers: vec![("h", None), ("h", Some(value))],
                timestamp_ms: None,
            });
            let mut data = write::batch(0, records).split_off(61);
            let at = at.index(data.len());
            data[at] = byte;
            let count = u8::try_from(values.len()).unwrap();
            batch(&[&[0, count][..], &data].concat());
        }
    }
}
