//! A full log, and a log that has failed: clients wait, and no gap arises.

use crate::client::{ANYONE, World, batch, produce};
use highwater_kafka::{KafkaOptions, KafkaServer};
use highwater_streams::{Options, Streams};
use kafka_protocol::messages::{ApiKey, FetchResponse};
use std::io::Write;
use std::sync::Arc;

const SEGMENT: u64 = 64 << 10;

fn small() -> Options {
    Options::new()
        .segment_bytes(SEGMENT)
        .max_log_bytes(8 * SEGMENT)
}

/// Fills the log, by a stream that can be deleted.
fn fill(world: &World) {
    world.create("filler", "text/plain");
    let body = vec![b'x'; 8 << 10];
    let request = highwater_streams::Append {
        content_type: Some("text/plain"),
        messages: &[&body],
        ..highwater_streams::Append::default()
    };
    loop {
        match world.streams.append("filler", &request) {
            Ok(told) => drop(told.wait().unwrap().unwrap()),
            Err(error) if error.is_log_full() => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Deletes what fills the log, and frees it.
fn make_room(world: &World) {
    let deleted = world.streams.delete("filler").unwrap();
    deleted.wait().unwrap().unwrap();
    for _ in 0..2 {
        world.streams.checkpoint().unwrap();
        world.streams.tend().unwrap();
    }
}

/// Room is made while a request waits: its client is not told that the log was full.
#[test]
fn a_request_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path(), small(), KafkaOptions::new().topic("t", 1));
    fill(&world);
    let mut client = world.client();
    let long = "v".repeat(16 << 10);
    let sender = |first| (9, 0, first);
    for first in 0..3 {
        let body = batch(sender(first), None, &[&long]);
        let frame = client.produce_frame(&produce(-1, 60_000, &[("t", 0, body)]));
        client.stream.write_all(&frame).unwrap();
    }
    make_room(&world);
    for offset in 0..3 {
        let told = client.produced().unwrap();
        assert_eq!((told.error_code, told.base_offset), (0, offset));
    }
    assert_eq!(world.values("t").len(), 3);
}

/// After the client's time it is told to send the batch again, and the connection ends: what came
/// behind the batch is not looked at. Stored, it would leave a gap that ends the producer when it
/// sends both again.
#[test]
fn what_follows_a_batch_that_was_refused_for_now_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path(), small(), KafkaOptions::new().topic("t", 1));
    fill(&world);
    let mut client = world.client();
    let long = "v".repeat(16 << 10);
    let batches = [
        batch((9, 0, 0), None, &[&long]),
        batch((9, 0, 1), None, &["short"]),
    ];
    for body in &batches {
        let frame = client.produce_frame(&produce(-1, 20, &[("t", 0, body.clone())]));
        client.stream.write_all(&frame).unwrap();
    }
    let told = client.produced().unwrap();
    assert_eq!((told.error_code, told.base_offset), (7, -1));
    assert!(told.error_message.unwrap().contains("full"));
    assert!(client.is_closed());
    assert!(world.values("t").is_empty());
    make_room(&world);
    let mut client = world.client();
    for (offset, body) in (0..).zip(&batches) {
        assert_eq!(client.produce("t", 0, body), (0, offset));
    }
}

/// Streams that were closed under the server: a client is told to try again, and is let go.
#[test]
fn a_closed_log_is_no_end_for_a_client() {
    let dir = tempfile::tempdir().unwrap();
    let streams = Arc::new(Streams::open(dir.path(), Options::new()).unwrap());
    let options = KafkaOptions::new().topic("t", 1);
    let server = KafkaServer::start(Arc::clone(&streams), "127.0.0.1:0", options).unwrap();
    let mut client = crate::client::Client::connect(server.local_addr());
    let body = batch(ANYONE, None, &["v"]);
    assert_eq!(client.produce("t", 0, &body), (0, 0));
    streams.close().unwrap();
    assert_eq!(client.produce("t", 0, &body), (7, -1));
    assert!(client.is_closed());
}

/// While a read waits, requests behind it are begun: so many, and no more. Their client is not read
/// until answers have gone out.
#[test]
fn so_many_requests_of_a_connection_wait_for_their_answers() {
    let dir = tempfile::tempdir().unwrap();
    let options = KafkaOptions::new().topic("t", 1).topic("quiet", 1);
    let world = World::open(dir.path(), Options::new(), options);
    let mut client = world.client();
    let read = crate::client::fetch(60_000, &[("quiet", 0, 0)]);
    let mut sent = client.frame(ApiKey::Fetch, 12, &read);
    for _ in 0..100 {
        let body = produce(1, 1_000, &[("t", 0, batch(ANYONE, None, &["v"]))]);
        sent.extend(client.produce_frame(&body));
    }
    client.stream.write_all(&sent).unwrap();
    let end = || {
        world
            .streams
            .look("t")
            .unwrap()
            .wait()
            .unwrap()
            .unwrap()
            .end
            .get()
    };
    while end() < 32 {
        std::thread::yield_now();
    }
    let mut other = world.client();
    let body = batch(ANYONE, None, &["q"]);
    // Others are served meanwhile, again and again.
    for _ in 0..50 {
        assert_eq!(other.produce("none", 0, &body).0, 3);
    }
    assert_eq!(end(), 32);
    assert_eq!(other.produce("quiet", 0, &body), (0, 0));
    let answer: Option<(i32, FetchResponse)> = client.answer(ApiKey::Fetch, 12);
    assert!(answer.is_some());
    for offset in 0..100 {
        assert_eq!(client.produced().unwrap().base_offset, offset);
    }
}
