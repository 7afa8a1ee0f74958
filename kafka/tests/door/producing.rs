//! Appending: order, retries, what is refused.

use crate::client::{ANYONE, Client, World, batch, produce};
use highwater_kafka::KafkaOptions;
use highwater_streams::{Append, Options, RECORDS, Then};
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse};
use std::collections::BTreeSet;
use std::io::Write;

const NONE: i16 = 0;

fn new_id(client: &mut Client) -> i64 {
    let body = InitProducerIdRequest::default().with_transactional_id(None);
    let told: InitProducerIdResponse = client.ask(ApiKey::InitProducerId, 4, &body).unwrap();
    assert_eq!((told.error_code, told.producer_epoch), (NONE, 0));
    told.producer_id.0
}

#[test]
fn a_batch_is_there_when_it_is_answered_with_its_first_offset() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut client = world.client();
    let three = batch(ANYONE, Some("k"), &["a", "b", "c"]);
    assert_eq!(client.produce("t", 0, &three), (NONE, 0));
    assert_eq!(client.produce("t", 0, &three), (NONE, 3));
    assert_eq!(world.values("t"), ["a", "b", "c", "a", "b", "c"]);
    let page = world.page("t");
    let first = highwater_streams::RecordRef::decode(page.pieces().next().unwrap()).unwrap();
    assert_eq!(first.key, Some(&b"k"[..]));
    assert_eq!(first.timestamp_ms, Some(5_000));
}

/// A retry is told where its batch is, also after a restart: a client that was told anything else
/// would count it as lost.
#[test]
fn a_retry_is_there_once_and_is_told_where() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut client = world.client();
    let id = new_id(&mut client);
    let send = |first, values: &[&str]| batch((id, 0, first), None, values);
    assert_eq!(client.produce("t", 0, &send(0, &["a", "b"])), (NONE, 0));
    assert_eq!(client.produce("t", 0, &send(2, &["c"])), (NONE, 2));
    assert_eq!(client.produce("t", 0, &send(0, &["a", "b"])), (NONE, 0));
    world.close();
    let world = World::new(dir.path());
    let mut client = world.client();
    assert_eq!(client.produce("t", 0, &send(2, &["c"])), (NONE, 2));
    assert_eq!(client.produce("t", 0, &send(4, &["e"])), (45, -1), "a gap");
    assert_eq!(client.produce("t", 0, &send(3, &["d"])), (NONE, 3));
    let later = batch((id, 1, 0), None, &["e"]);
    assert_eq!(client.produce("t", 0, &later), (NONE, 4));
    assert_eq!(
        client.produce("t", 0, &send(4, &["x"])),
        (47, -1),
        "an old epoch"
    );
    assert_eq!(world.values("t"), ["a", "b", "c", "d", "e"]);
}

#[test]
fn ids_are_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let world = World::new(dir.path());
        let mut client = world.client();
        for _ in 0..3 {
            assert!(ids.insert(new_id(&mut client)));
        }
        world.close();
    }
}

#[test]
fn requests_that_follow_each_other_are_answered_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut client = world.client();
    let mut sent = Vec::new();
    for n in 0..200 {
        let value = format!("{n}");
        // Those without an answer are in the order too.
        let acks = if n % 3 == 0 { 0 } else { 1 };
        let body = produce(acks, 1_000, &[("t", 0, batch(ANYONE, None, &[&value]))]);
        sent.extend(client.produce_frame(&body));
    }
    client.stream.write_all(&sent).unwrap();
    for n in 0..200 {
        if n % 3 > 0 {
            let told = client.produced().unwrap();
            assert_eq!((told.error_code, told.base_offset), (NONE, n));
        }
    }
    let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(world.values("t"), expected);
}

#[test]
fn what_cannot_be_stored_is_refused_and_the_connection_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.create("text", "text/plain");
    world.create("closed", RECORDS);
    let close = Append {
        then: Then::Closed,
        ..Append::default()
    };
    world
        .streams
        .append("closed", &close)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    let mut client = world.client();
    let good = batch(ANYONE, None, &["v"]);
    for (name, index, code) in [
        ("none", 0, 3),
        ("t", 1, 3),
        ("t", -1, 3),
        ("a/b", 0, 3),
        ("text", 0, 17),
        ("closed", 0, 44),
    ] {
        assert_eq!(
            client.produce(name, index, &good),
            (code, -1),
            "{name} {index}"
        );
    }
    let mut damaged = good.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(client.produce("t", 0, &damaged.into()), (2, -1));
    assert_eq!(client.produce("t", 0, &bytes::Bytes::new()), (2, -1));
    let huge = "x".repeat(world.streams.max_body_bytes() + 1);
    let huge = batch(ANYONE, None, &[&huge]);
    assert_eq!(client.produce("t", 0, &huge), (10, -1));
    let mut body = produce(2, 1_000, &[("t", 0, good.clone())]);
    let frame = client.produce_frame(&body);
    client.stream.write_all(&frame).unwrap();
    assert_eq!(client.produced().unwrap().error_code, 21);
    body =
        body.with_acks(-1)
            .with_transactional_id(Some(kafka_protocol::messages::TransactionalId(
                crate::client::text("x"),
            )));
    let frame = client.produce_frame(&body);
    client.stream.write_all(&frame).unwrap();
    assert_eq!(client.produced().unwrap().error_code, 53);
    assert_eq!(client.produce("t", 0, &good), (NONE, 0));
}

/// A client that wants no answers learns by the end of its connection alone that one was not
/// stored.
#[test]
fn without_an_answer_the_connection_ends_where_something_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut client = world.client();
    let good = batch(ANYONE, None, &["v"]);
    for name in ["t", "none"] {
        let frame = client.produce_frame(&produce(0, 1_000, &[(name, 0, good.clone())]));
        client.stream.write_all(&frame).unwrap();
    }
    assert!(client.is_closed());
    assert_eq!(world.values("t"), ["v"]);
}

/// JSON messages have no keys: to leave one out would lose it without a word.
#[test]
fn a_stream_of_json_takes_values_that_are_json() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path(), Options::new(), KafkaOptions::new());
    world.create("j", "application/json");
    let mut client = world.client();
    let send = |key, values: &[&str]| batch(ANYONE, key, values);
    assert_eq!(
        client.produce("j", 0, &send(None, &[" {\"a\": 1}", "[1, 2]"])),
        (NONE, 0)
    );
    assert_eq!(client.produce("j", 0, &send(Some("k"), &["1"])), (87, -1));
    assert_eq!(client.produce("j", 0, &send(None, &["1", "{"])), (87, -1));
    let page = world.page("j");
    let messages: Vec<&[u8]> = page.pieces().collect();
    assert_eq!(messages, [&b"{\"a\": 1}"[..], b"[1, 2]"]);
}
