//! Clients that mean harm: they are cut off, and the others go on.

use crate::client::{ANYONE, Client, World, batch, bomb};
use highwater_kafka::KafkaOptions;
use highwater_streams::Options;
use proptest::prelude::*;
use std::io::Write;

/// What is no request of the protocol ends its connection.
#[test]
fn bytes_that_are_no_request_end_their_connection_alone() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut good = world.client();
    let body = batch(ANYONE, None, &["v"]);
    let frame = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap();
        [&length.to_be_bytes()[..], bytes].concat()
    };
    // Metadata and Produce whose lists have two billion items.
    let metadata = [
        &[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff][..],
        &i32::MAX.to_be_bytes(),
    ]
    .concat();
    let head = [
        0, 0, 0, 7, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 1,
    ];
    let produce = [&head[..], &i32::MAX.to_be_bytes()].concat();
    // A flexible one: the length is a number of seven bits a byte.
    let flexible = [
        0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x0f,
    ];
    let hostile = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        vec![0xff; 64],
        frame(b""),
        frame(&[0; 7]),
        frame(&metadata),
        frame(&produce),
        frame(&flexible),
        // A request that is not offered: JoinGroup.
        frame(&[0, 11, 0, 0, 0, 0, 0, 1, 0xff, 0xff]),
    ];
    for (n, bytes) in hostile.iter().enumerate() {
        let mut client = world.client();
        client.stream.write_all(bytes).unwrap();
        assert!(client.is_closed(), "{n}");
        let offset = i64::try_from(n).unwrap();
        assert_eq!(good.produce("t", 0, &body), (0, offset));
    }
}

/// Eight batches of a few kilobytes that each become 15 MiB: what all of them become has a bound,
/// so that a short request is not minutes of work.
#[test]
fn what_the_batches_of_a_request_become_is_bounded_together() {
    let dir = tempfile::tempdir().unwrap();
    let options = KafkaOptions::new().topic("t", 8);
    let world = World::open(dir.path(), Options::new(), options);
    let bomb = bomb(15 << 20);
    assert!(bomb.len() < 100 << 10, "{}", bomb.len());
    let batches: Vec<(&str, i32, bytes::Bytes)> =
        (0..8).map(|index| ("t", index, bomb.clone())).collect();
    let mut client = world.client();
    let frame = client.produce_frame(&crate::client::produce(1, 10_000, &batches));
    client.stream.write_all(&frame).unwrap();
    let codes = client.codes();
    assert_eq!(codes, [0, 0, 0, 0, 10, 10, 10, 10]);
}

#[test]
fn there_are_so_many_connections_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let options = KafkaOptions::new().topic("t", 1).max_connections(3, 2);
    let world = World::open(dir.path(), Options::new(), options);
    let body = batch(ANYONE, None, &["v"]);
    let mut served: Vec<Client> = (0..2).map(|_| world.client()).collect();
    for (offset, client) in (0..).zip(&mut served) {
        assert_eq!(client.produce("t", 0, &body), (0, offset));
    }
    assert!(world.client().is_closed());
    drop(served.pop());
    // Its place is free a moment later.
    let mut offset = None;
    while offset.is_none() {
        let mut client = world.client();
        let frame =
            client.produce_frame(&crate::client::produce(1, 100, &[("t", 0, body.clone())]));
        let _ = client.stream.write_all(&frame);
        offset = client.produced().map(|told| told.base_offset);
    }
    assert_eq!(offset, Some(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever follows a head: the server goes on.
    #[test]
    fn random_bodies_do_no_harm(key in prop::sample::select(vec![0_u8, 1, 2, 3, 10, 17, 18, 22, 36]), version in 0..13_u8, body: Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        let mut client = world.client();
        let head = [0, key, 0, version, 0, 0, 0, 1, 0, 1, b'c'];
        let length = u32::try_from(head.len() + body.len()).unwrap();
        let frame = [&length.to_be_bytes()[..], &head, &body].concat();
        client.stream.write_all(&frame).unwrap();
        drop(client);
        let body = batch(ANYONE, None, &["v"]);
        prop_assert_eq!(world.client().produce("t", 0, &body).0, 0);
    }
}
