//! Batches against another implementation, and against what a hostile client sends.

use crate::batch::read::Batch;
use crate::batch::refused::Refused;
use crate::batch::write;
use crate::wire::error::Code;
use bytes::{Bytes, BytesMut};
use highwater_streams::RecordRef;
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::prelude::*;

const MAX: usize = 1 << 20;

type Plain = (
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    i64,
    Vec<(String, Option<Vec<u8>>)>,
);

fn other_record(index: usize, (key, value, timestamp, headers): &Plain) -> Record {
    let headers = headers.iter().map(|(name, value)| {
        let value = value.clone().map(Bytes::from);
        (StrBytes::from_string(name.clone()), value)
    });
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: 4096,
        producer_epoch: 1,
        timestamp_type: TimestampType::Creation,
        offset: i64::try_from(index).unwrap(),
        sequence: 70 + i32::try_from(index).unwrap(),
        timestamp: *timestamp,
        key: key.clone().map(Bytes::from),
        value: value.clone().map(Bytes::from),
        headers: headers.collect::<IndexMap<_, _>>(),
    }
}

/// As the other implementation writes them.
fn other_batch(records: &[Plain], compression: Compression) -> Vec<u8> {
    let records: Vec<Record> = records
        .iter()
        .enumerate()
        .map(|(index, record)| other_record(index, record))
        .collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression,
    };
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.to_vec()
}

fn plain(record: &RecordRef<'_>) -> Plain {
    let headers = record.headers.iter().map(|(name, value)| {
        let value = value.map(<[u8]>::to_vec);
        ((*name).to_owned(), value)
    });
    (
        record.key.map(<[u8]>::to_vec),
        record.value.map(<[u8]>::to_vec),
        record.timestamp_ms.unwrap_or(-1),
        headers.collect(),
    )
}

fn read(bytes: &[u8], max: usize) -> Result<Vec<Plain>, Refused> {
    let mut all = Vec::new();
    Batch::read(bytes, max)?.each(|record| {
        all.push(plain(record));
        Ok(())
    })?;
    Ok(all)
}

fn one(value: &[u8]) -> Plain {
    (None, Some(value.to_vec()), 1_000, Vec::new())
}

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn records() -> impl Strategy<Value = Vec<Plain>> {
    let headers = proptest::collection::btree_map(any::<String>(), any::<Option<Vec<u8>>>(), 0..4);
    let headers = headers.prop_map(|all| all.into_iter().collect());
    let record = (
        any::<Option<Vec<u8>>>(),
        any::<Option<Vec<u8>>>(),
        0..4_000_000_000_000_i64,
        headers,
    );
    proptest::collection::vec(record, 1..20)
}

proptest! {
    #[test]
    fn what_another_implementation_writes_is_read(records in records(), codec in 0..5_usize) {
        let bytes = other_batch(&records, CODECS[codec]);
        let batch = Batch::read(&bytes, MAX).unwrap();
        let producer = batch.producer.unwrap();
        prop_assert_eq!((producer.producer, producer.epoch, producer.first), (4096, 1, 70));
        prop_assert_eq!(read(&bytes, MAX).unwrap(), records);
    }

    #[test]
    fn what_is_written_another_implementation_reads(records in records(), first in 0..1_u64 << 40) {
        let refs = records.iter().map(|(key, value, timestamp, headers)| RecordRef {
            key: key.as_deref(),
            value: value.as_deref(),
            timestamp_ms: Some(*timestamp),
            headers: headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect(),
        });
        let bytes = write::batch(first, refs);
        prop_assert_eq!(read(&bytes, MAX).unwrap(), records.clone());
        let set = RecordBatchDecoder::decode(&mut Bytes::from(bytes)).unwrap();
        for (index, (found, expected)) in set.records.iter().zip(&records).enumerate() {
            let mut expected = other_record(index, expected);
            expected.offset += i64::try_from(first).unwrap();
            (expected.producer_id, expected.producer_epoch) = (-1, -1);
            prop_assert_eq!(found.offset, expected.offset);
            prop_assert_eq!(found.timestamp, expected.timestamp);
            prop_assert_eq!(&found.key, &expected.key);
            prop_assert_eq!(&found.value, &expected.value);
            prop_assert_eq!(&found.headers, &expected.headers);
        }
        prop_assert_eq!(set.records.len(), records.len());
    }

    /// A damaged batch is refused, not read as another one: the checksum covers all but the first
    /// 21 bytes.
    #[test]
    fn damage_is_seen(records in records(), at: prop::sample::Index, flip in 1..=255_u8) {
        let mut bytes = other_batch(&records, Compression::None);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        match read(&bytes, MAX) {
            Ok(found) => {
                prop_assert!(at < 16, "byte {} of the checked part was changed", at);
                prop_assert_eq!(found, records);
            }
            Err(refused) => prop_assert!(at >= 8, "{:?} for byte {}", refused, at),
        }
    }

    /// With a right checksum, whatever is in it.
    #[test]
    fn hostile_batches_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 61..200), attributes in 0..64_u8, count in 0..4_i32) {
        seal(&mut bytes, attributes, count);
        if let Ok(found) = read(&bytes, 4096) {
            prop_assert_eq!(found.len(), usize::try_from(count).unwrap());
        }
    }
}

/// Makes bytes a batch, as far as its head goes.
fn seal(bytes: &mut [u8], attributes: u8, count: i32) {
    let length = u32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    bytes[21..23].copy_from_slice(&[0, attributes]);
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[43..57].copy_from_slice(&[0xff; 14]);
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
}

fn code(bytes: &[u8]) -> Code {
    read(bytes, MAX).unwrap_err().code
}

/// Changes a batch, and makes its checksum right again.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = other_batch(&[one(b"a"), one(b"b")], Compression::None);
    change(&mut bytes);
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[test]
fn each_fault_has_its_code() {
    assert_eq!(code(&[]), Code::CorruptMessage);
    assert_eq!(
        code(&changed(|b| b[16] = 1)),
        Code::UnsupportedForMessageFormat
    );
    assert_eq!(code(&changed(|b| b[16] = 3)), Code::CorruptMessage);
    let transactional = changed(|b| b[22] |= 1 << 4);
    assert_eq!(
        code(&transactional),
        Code::TransactionalIdAuthorizationFailed
    );
    assert_eq!(code(&changed(|b| b[22] |= 1 << 5)), Code::InvalidRecord);
    assert_eq!(
        code(&changed(|b| b[22] |= 7)),
        Code::UnsupportedCompressionType
    );
    assert_eq!(
        code(&changed(|b| b[26] = 2)),
        Code::InvalidRecord,
        "last offset"
    );
    // Fewer and more records than it says; a count of two billion.
    for count in [1_i32, 3, i32::MAX] {
        let lies = changed(|b| {
            b[23..27].copy_from_slice(&(count - 1).to_be_bytes());
            b[57..61].copy_from_slice(&count.to_be_bytes());
        });
        assert_eq!(code(&lies), Code::CorruptMessage, "{count}");
    }
    for count in [0_i32, -1] {
        let none = changed(|b| {
            b[23..27].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
            b[57..61].copy_from_slice(&count.to_be_bytes());
        });
        assert_eq!(code(&none), Code::InvalidRecord, "{count}");
    }
    let no_epoch = changed(|b| b[51..53].copy_from_slice(&[0xff; 2]));
    assert_eq!(code(&no_epoch), Code::InvalidRecord);
    let batch = changed(|_| {});
    let two = [&batch[..], &batch].concat();
    assert_eq!(code(&two), Code::CorruptMessage, "one batch of a partition");
    let mut damaged = batch;
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(code(&damaged), Code::CorruptMessage);
}

/// Some clients set one time for all records of a batch.
#[test]
fn a_batch_may_have_one_time() {
    let batch = changed(|b| {
        b[22] |= 1 << 3;
        b[35..43].copy_from_slice(&7_000_i64.to_be_bytes());
    });
    let times: Vec<i64> = read(&batch, MAX).unwrap().iter().map(|r| r.2).collect();
    assert_eq!(times, [7_000, 7_000]);
}

/// Headers may come twice with the same name: a map would lose one.
#[test]
fn headers_keep_their_order_and_their_names() {
    let header = |name, value: Option<&'static [u8]>| (name, value);
    let record = RecordRef {
        headers: vec![
            header("a", Some(b"1")),
            header("b", None),
            header("a", Some(b"2")),
        ],
        ..RecordRef::default()
    };
    let bytes = write::batch(5, std::iter::once(record.clone()));
    assert_eq!(read(&bytes, MAX).unwrap(), [plain(&record)]);
}

/// A few bytes that stand for many: no more is made of them than may be.
#[test]
fn what_becomes_too_long_is_refused() {
    let long = [one(&vec![b'x'; 300_000])];
    for codec in CODECS {
        let bytes = other_batch(&long, codec);
        assert_eq!(read(&bytes, 400_000).unwrap(), long, "{codec:?}");
        let refused = read(&bytes, 200_000).unwrap_err();
        assert_eq!(refused.code, Code::MessageTooLarge, "{codec:?}");
    }
    // Snappy says how long it becomes: 4 GiB.
    let mut bomb = vec![0; 61];
    bomb.extend([0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    seal(&mut bomb, 2, 1);
    assert_eq!(code(&bomb), Code::MessageTooLarge);
    // zstd: a window of 2 GiB.
    let mut window = vec![0; 61];
    window.extend([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00]);
    seal(&mut window, 4, 1);
    assert_eq!(code(&window), Code::CorruptMessage);
}

/// As clients in Java send it, in blocks behind a head of their own.
#[test]
fn snappy_may_come_in_blocks() {
    let plain = other_batch(&[one(&[b'y'; 500])], Compression::None);
    let (left, right) = plain[61..].split_at(200);
    let mut bytes = plain[..61].to_vec();
    bytes.extend(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    for block in [left, right] {
        let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
        bytes.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
        bytes.extend(block);
    }
    seal(&mut bytes, 2, 1);
    assert_eq!(read(&bytes, MAX).unwrap().len(), 1);
    bytes.pop();
    seal(&mut bytes, 2, 1);
    assert_eq!(code(&bytes), Code::CorruptMessage);
}
