//! Reading: offsets, waiting, limits.

use crate::client::{ANYONE, World, batch, fetch, read, topic};
use highwater_kafka::KafkaOptions;
use highwater_streams::{Append, NewStream, Options, RECORDS, Retention};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, ListOffsetsResponse};
use std::io::Write;

fn owned(all: &[(i64, &str)]) -> Vec<(i64, String)> {
    all.iter()
        .map(|(offset, value)| (*offset, (*value).to_owned()))
        .collect()
}

#[test]
fn reading_begins_anywhere_also_inside_of_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut client = world.client();
    client.produce("t", 0, &batch(ANYONE, None, &["a", "b", "c"]));
    client.produce("t", 0, &batch(ANYONE, None, &["d"]));
    let all = owned(&[(0, "a"), (1, "b"), (2, "c"), (3, "d")]);
    for from in 0..4 {
        let found = client.fetch(&fetch(0, &[("t", 0, from)]));
        let expected = &all[usize::try_from(from).unwrap()..];
        assert_eq!(read(&found[0]), expected);
        assert_eq!((found[0].high_watermark, found[0].log_start_offset), (4, 0));
    }
    let found = client.fetch(&fetch(0, &[("t", 0, 4)]));
    assert_eq!((found[0].error_code, read(&found[0])), (0, vec![]));
    for beyond in [5, -1] {
        let found = client.fetch(&fetch(60_000, &[("t", 0, beyond)]));
        assert_eq!(found[0].error_code, 1, "{beyond}");
    }
    let found = client.fetch(&fetch(60_000, &[("none", 0, 0), ("t", 7, 0)]));
    assert_eq!((found[0].error_code, found[1].error_code), (3, 3));
}

/// A read that waits is answered as soon as a partition has something; those of the same connection
/// behind it wait for it.
#[test]
fn a_read_that_waits_is_woken() {
    let dir = tempfile::tempdir().unwrap();
    let options = KafkaOptions::new().topic("t", 2);
    let world = World::open(dir.path(), Options::new(), options);
    let mut reader = world.client();
    let body = fetch(60_000, &[("t", 0, 0), ("t", 1, 0)]);
    let frame = reader.frame(ApiKey::Fetch, 12, &body);
    reader.stream.write_all(&frame).unwrap();
    while world.streams.stats().waiting < 2 {
        std::thread::yield_now();
    }
    world.client().produce("t", 1, &batch(ANYONE, None, &["x"]));
    let (_, answer): (_, kafka_protocol::messages::FetchResponse) =
        reader.answer(ApiKey::Fetch, 12).unwrap();
    assert_eq!(read(&answer.responses[0].partitions[0]), []);
    assert_eq!(read(&answer.responses[1].partitions[0]), owned(&[(0, "x")]));
    assert_eq!(world.streams.stats().waiting, 0);
}

#[test]
fn the_end_of_the_server_ends_a_read_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut reader = world.client();
    let frame = reader.frame(ApiKey::Fetch, 12, &fetch(60_000, &[("t", 0, 0)]));
    reader.stream.write_all(&frame).unwrap();
    while world.streams.stats().waiting < 1 {
        std::thread::yield_now();
    }
    world.server.stop();
    let answer: Option<(i32, kafka_protocol::messages::FetchResponse)> =
        reader.answer(ApiKey::Fetch, 12);
    assert!(answer.is_some());
    assert!(reader.is_closed());
}

/// An answer, and what it has of a partition, is no longer than it may be, but for one message,
/// which a client could not do without. Once each partition could have such a one.
#[test]
fn an_answer_has_its_limits_and_at_least_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let options = KafkaOptions::new().topic("t", 2);
    let world = World::open(dir.path(), Options::new(), options);
    let mut client = world.client();
    let long = "x".repeat(10_000);
    for index in [0, 1] {
        client.produce("t", index, &batch(ANYONE, None, &[&long, &long, &long]));
    }
    let both = fetch(0, &[("t", 0, 0), ("t", 1, 0)]);
    let count = |found: &[_]| found.iter().map(|p| read(p).len()).collect::<Vec<_>>();
    assert_eq!(count(&client.fetch(&both)), [3, 3]);
    assert_eq!(
        count(&client.fetch(&both.clone().with_max_bytes(25_000))),
        [2, 0]
    );
    assert_eq!(
        count(&client.fetch(&both.clone().with_max_bytes(1))),
        [1, 0]
    );
    let mut little = both;
    for topic in &mut little.topics {
        topic.partitions[0].partition_max_bytes = 1;
    }
    assert_eq!(count(&client.fetch(&little)), [1, 0]);
}

/// Messages of other doors have no keys; their time is that of receipt.
#[test]
fn a_stream_of_json_is_read_as_values() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path(), Options::new(), KafkaOptions::new());
    world.create("j", "application/json");
    let messages: [&[u8]; 2] = [b"{}", b"[1]"];
    let request = Append {
        content_type: Some("application/json"),
        messages: &messages,
        ..Append::default()
    };
    world
        .streams
        .append("j", &request)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    let found = world.client().fetch(&fetch(0, &[("j", 0, 0)]));
    assert_eq!(read(&found[0]), owned(&[(0, "{}"), (1, "[1]")]));
    let mut bytes = found[0].records.clone().unwrap();
    let set = kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes).unwrap();
    let received = i64::try_from(world.page("j").received_ms[0]).unwrap();
    assert_eq!(
        (set.records[0].timestamp, set.records[0].key.clone()),
        (received, None)
    );
}

fn offsets(world: &World, name: &str, timestamp: i64) -> (i16, i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let body = ListOffsetsRequest::default().with_topics(vec![
        ListOffsetsTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![partition]),
    ]);
    let told: Option<ListOffsetsResponse> = world.client().ask(ApiKey::ListOffsets, 6, &body);
    let partition = &told.unwrap().topics[0].partitions[0];
    (partition.error_code, partition.timestamp, partition.offset)
}

#[test]
fn offsets_are_found_by_time_and_what_was_given_up_is_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let retention = Some(Retention {
        positions: Some(8),
        ..Retention::default()
    });
    let content_type = Some(RECORDS);
    let new = NewStream {
        content_type,
        retention,
        ..NewStream::default()
    };
    world
        .streams
        .create("short", &new)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    let mut client = world.client();
    for value in 0..40 {
        client.produce("short", 0, &batch(ANYONE, None, &[&value.to_string()]));
    }
    // Each turn looks at a share of all streams.
    for _ in 0..512 {
        world.streams.tend().unwrap();
    }
    let start = i64::try_from(world.page("short").from.get()).unwrap();
    assert!(start >= 30, "{start}");
    assert_eq!(offsets(&world, "short", -2), (0, -1, start));
    assert_eq!(offsets(&world, "short", -1), (0, -1, 40));
    let first = i64::try_from(world.page("short").received_ms[0]).unwrap();
    assert_eq!(offsets(&world, "short", 0), (0, first, start));
    assert_eq!(
        offsets(&world, "short", i64::MAX),
        (0, -1, -1),
        "nothing is later"
    );
    assert_eq!(offsets(&world, "short", -3).0, 42);
    assert_eq!(offsets(&world, "none", -1).0, 3);
    let found = client.fetch(&fetch(60_000, &[("short", 0, start - 1)]));
    assert_eq!(found[0].error_code, 1);
}
