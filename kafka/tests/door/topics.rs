//! Topics and partitions.

use crate::client::{ANYONE, World, batch, topic};
use highwater_kafka::{KafkaError, KafkaOptions, KafkaServer};
use highwater_streams::{Options, Retention};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse};
use std::sync::Arc;

/// Codes and partitions of topics.
fn look(world: &World, names: Option<&[&str]>, may_create: bool) -> Vec<(String, i16, usize)> {
    let named = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic(name)));
    let topics = names.map(|names| names.iter().map(named).collect());
    let body = MetadataRequest::default()
        .with_topics(topics)
        .with_allow_auto_topic_creation(may_create);
    let told: MetadataResponse = world.client().ask(ApiKey::Metadata, 9, &body).unwrap();
    assert_eq!(told.brokers[0].port, i32::from(world.addr().port()));
    let name = |topic: &kafka_protocol::messages::metadata_response::MetadataResponseTopic| {
        topic.name.as_ref().unwrap().0.to_string()
    };
    let all = told.topics.iter();
    all.map(|topic| (name(topic), topic.error_code, topic.partitions.len()))
        .collect()
}

fn told(name: &str, code: i16, partitions: usize) -> (String, i16, usize) {
    (name.to_owned(), code, partitions)
}

#[test]
fn every_stream_of_messages_is_a_topic() {
    let dir = tempfile::tempdir().unwrap();
    let options = KafkaOptions::new().prefix("p/").topic("t", 3);
    let world = World::open(dir.path(), Options::new(), options);
    world.create("p/j", "application/json");
    world.create("p/text", "text/plain");
    world.create("other", "application/json");
    world.create("p/no topic", "application/json");
    assert_eq!(look(&world, None, true), [told("j", 0, 1), told("t", 0, 3)]);
    let names = ["t", "text", "none", "a/b", ""];
    let expected = [
        told("t", 0, 3),
        told("text", 17, 0),
        told("none", 3, 0),
        told("a/b", 17, 0),
        told("", 17, 0),
    ];
    assert_eq!(look(&world, Some(&names), true), expected);
    let mut client = world.client();
    for index in 0..3 {
        let value = index.to_string();
        client.produce("t", index, &batch(ANYONE, None, &[&value]));
    }
    for (index, name) in ["p/t", "p/t/1", "p/t/2"].iter().enumerate() {
        assert_eq!(world.values(name), [index.to_string()]);
    }
}

#[test]
fn topics_are_created_only_where_both_sides_want_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = KafkaOptions::new().auto_create();
    let world = World::open(dir.path(), Options::new(), options);
    assert_eq!(look(&world, Some(&["a"]), false), [told("a", 3, 0)]);
    assert_eq!(look(&world, Some(&["a"]), true), [told("a", 0, 1)]);
    assert_eq!(look(&world, Some(&["a"]), false), [told("a", 0, 1)]);
    assert_eq!(
        world.client().produce("a", 0, &batch(ANYONE, None, &["v"])),
        (0, 0)
    );
}

fn start(world: &World, options: KafkaOptions) -> Result<KafkaServer, String> {
    let server = KafkaServer::start(Arc::clone(&world.streams), "127.0.0.1:0", options);
    server.map_err(|error| match error {
        KafkaError::BadOptions { what, .. } => what,
        other => panic!("{other}"),
    })
}

#[test]
fn a_topic_gets_more_partitions_and_never_fewer() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.client().produce("t", 0, &batch(ANYONE, None, &["v"]));
    let more = start(&world, KafkaOptions::new().topic("t", 4)).unwrap();
    assert_eq!(look(&world, Some(&["t"]), false), [told("t", 0, 4)]);
    assert_eq!(world.values("t"), ["v"]);
    drop(more);
    let fewer = start(&world, KafkaOptions::new().topic("t", 2)).unwrap_err();
    assert!(fewer.contains("has 4 partitions already"), "{fewer}");
    world.create("x/2", "text/plain");
    let blocked = start(&world, KafkaOptions::new().topic("x", 3)).unwrap_err();
    assert!(blocked.contains("a stream that has bytes"), "{blocked}");
    for (name, partitions, expected) in [
        ("a b", 1, "is no name of a topic"),
        ("a", 0, "cannot have 0 partitions"),
        ("a", 1001, "cannot have 1001 partitions"),
    ] {
        let bad = start(&world, KafkaOptions::new().topic(name, partitions)).unwrap_err();
        assert!(bad.contains(expected), "{bad}");
    }
}

/// The server has threads of its own: a program may start it in a task.
#[test]
fn it_starts_inside_of_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = KafkaOptions::new().topic("in", 1);
        drop(start(&world, options).unwrap());
    });
    assert_eq!(look(&world, Some(&["in"]), false), [told("in", 0, 1)]);
}

/// Behind a proxy the address that a client has reached is not the one to connect to.
#[test]
fn clients_are_told_where_to_connect() {
    let dir = tempfile::tempdir().unwrap();
    let options = KafkaOptions::new().advertised("broker.example:19092");
    let world = World::open(dir.path(), Options::new(), options);
    let all = MetadataRequest::default().with_topics(None);
    let told: MetadataResponse = world.client().ask(ApiKey::Metadata, 9, &all).unwrap();
    let broker = &told.brokers[0];
    assert_eq!((&*broker.host, broker.port), ("broker.example", 19092));
}

/// What the server creates keeps as much as its options say.
#[test]
fn topics_keep_what_the_options_say() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention {
        positions: Some(4),
        ..Retention::default()
    };
    let options = KafkaOptions::new().topic("t", 1).retention(retention);
    let world = World::open(dir.path(), Options::new(), options);
    let mut client = world.client();
    for _ in 0..20 {
        client.produce("t", 0, &batch(ANYONE, None, &["v"]));
    }
    // Each turn looks at a share of all streams.
    for _ in 0..512 {
        world.streams.tend().unwrap();
    }
    assert_eq!(world.page("t").from.get(), 16);
}
