//! What each batch changes, as events.

use crate::client::{Client, Copied, Event, Feed, apply, read_all};
use crate::common::PATIENCE;
use crate::program::{Counted, Running, World, counted, run};
use highwater_connectors::StateDoorOptions;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn each_batch_is_told_as_a_whole() {
    let world = run();
    world.add("a", 1);
    let first = world.batch();
    let mut feed = Feed::follow(world.addr(), "sums", "");
    let from = feed.next();
    assert_eq!((&*from.name, from.id), ("from", Some(first)));
    assert_eq!(from.data, json!({ "batch": first }));
    world.add("b\n\r\u{2028}", 2);
    world.add("a", 9); // ten: it is gone
    let lsn = world.add("c", 3);
    let second = world.batch();
    let mut changes: Vec<_> = (0..3).map(|_| feed.next()).collect();
    changes.sort_by_key(|change| change.data["key"].to_string());
    let expected = [
        json!({ "key": "a", "value": null, "deleted": true }),
        json!({ "key": "b\n\r\u{2028}", "value": 2 }),
        json!({ "key": "c", "value": 3 }),
    ];
    for (change, data) in changes.iter().zip(expected) {
        assert_eq!(
            (&*change.name, change.id, &change.data),
            ("change", None, &data)
        );
    }
    let end = feed.next();
    assert_eq!((&*end.name, end.id), ("batch", Some(second)));
    assert_eq!(end.data["id"], second);
    assert!(end.data["lsn"].as_u64() > Some(lsn) && end.data["time_ms"].is_u64());
    // A batch that changes nothing is told too.
    let third = world.batch();
    let end = feed.next();
    assert_eq!((&*end.name, end.id), ("batch", Some(third)));
}

#[test]
fn before_the_first_batch_changes_come_from_the_beginning() {
    let world = run();
    let mut feed = Feed::follow(world.addr(), "numbers", "");
    assert_eq!(feed.next().id, Some(0));
    world.put("numbered", &(7_u64, 1_i64));
    let batch = world.batch();
    assert_eq!(feed.next().data, json!({ "key": 7, "value": 1 }));
    assert_eq!(feed.next().id, Some(batch));
}

#[test]
fn a_client_that_comes_again_is_told_whether_it_has_missed_something() {
    let world = run();
    world.add("a", 1);
    let batch = world.batch();
    for (last, event) in [
        (batch.to_string(), "from"),
        ((batch - 1).to_string(), "reset"),
        ((batch + 1).to_string(), "reset"),
        ("x".to_owned(), "reset"),
        (String::new(), "reset"),
    ] {
        let mut feed = Feed::follow(world.addr(), "sums", &format!("Last-Event-ID: {last}\r\n"));
        let first = feed.next();
        assert_eq!((&*first.name, first.id), (event, Some(batch)), "{last:?}");
        assert_eq!(first.data, json!({ "batch": batch }));
    }
    let twice = "Last-Event-ID: 1\r\nLast-Event-ID: 1\r\n";
    let answer = Client::connect(world.addr()).with("/changes/sums", twice);
    assert_eq!(answer.refusal(), (400, "bad_request"));
}

#[test]
fn a_feed_that_rests_shows_that_it_is_there() {
    let options = StateDoorOptions::new().heartbeat(Duration::from_millis(1));
    // A client that has nothing to take may take its time.
    let options = options.write_timeout(Duration::from_millis(50));
    let world = World::new().serve(options);
    let mut feed = Feed::follow(world.addr(), "sums", "");
    assert_eq!(feed.next().name, "from");
    for _ in 0..100 {
        assert_eq!(feed.block().unwrap(), ":\n\n");
    }
    let quiet = StateDoorOptions::new().head_timeout(Duration::from_millis(20));
    let quiet = quiet.write_timeout(Duration::from_millis(20));
    let world = World::new().serve(quiet);
    let mut feed = Feed::follow(world.addr(), "sums", "");
    assert_eq!(feed.next().name, "from");
    // Others rest for longer than the time-outs, and are closed, beside it.
    for _ in 0..3 {
        assert_eq!(Client::connect(world.addr()).rest(), b"");
    }
    let batch = world.batch();
    assert_eq!(feed.next().id, Some(batch));
}

#[test]
fn feeds_are_bounded_and_a_place_is_free_again() {
    let world = World::new().serve(StateDoorOptions::new().max_feeds(2));
    let follow = || {
        let mut feed = Feed::follow(world.addr(), "sums", "");
        assert_eq!(feed.next().name, "from");
        feed
    };
    let feeds = [follow(), follow()];
    let mut client = Client::connect(world.addr());
    let answer = client.get("/changes/sums");
    assert_eq!(answer.refusal(), (503, "busy"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(feeds);
    loop {
        client.send("GET", "/changes/sums", "");
        let head = client.head();
        if head.starts_with("http/1.1 200 ") {
            break;
        }
        client = Client::connect(world.addr());
    }
}

/// What a client has made of a feed: its copy at the end of each batch, once it is whole.
fn copies(world: &Running, until: u64, limit: usize) -> BTreeMap<u64, Copied> {
    let mut feed = Feed::follow(world.addr(), "sums", "");
    let (mut copy, mut whole_from, mut copies) = (Copied::new(), 0, BTreeMap::new());
    loop {
        let event = feed.next();
        match &*event.name {
            "from" | "reset" => {
                whole_from = read_all(world.addr(), "sums", limit, &mut copy);
                // It came after the last one.
                if event.id == Some(until) {
                    return BTreeMap::from([(until, copy)]);
                }
            }
            "change" => apply(&mut copy, &event),
            "batch" => {
                let id = event.id.unwrap();
                if id >= whole_from {
                    copies.insert(id, copy.clone());
                }
                if id >= until {
                    return copies;
                }
            }
            other => panic!("{other}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Clients that follow first and then read everything have what the state has at the end of
    /// each batch, while batches go on.
    #[test]
    fn changes_make_a_copy_what_the_state_is(
        batches in prop::collection::vec(
            prop::collection::vec((0_u8..12, -5_i64..6), 0..8), 1..20),
        limit in 1_usize..5,
    ) {
        let world = run();
        let (mut sums, mut states) = (BTreeMap::new(), BTreeMap::new());
        for key in 0..12_u8 {
            world.add(&format!("key {key}"), 3);
            sums.insert(format!("\"key {key}\""), 3);
        }
        let begun = world.batch();
        let until = begun + batches.len() as u64;
        let found = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..2).map(|_| scope.spawn(|| copies(&world, until, limit))).collect();
            for batch in &batches {
                for (key, number) in batch {
                    world.add(&format!("key {key}"), *number);
                }
                let mut added = BTreeMap::<_, i64>::new();
                for (key, number) in batch {
                    *added.entry(format!("\"key {key}\"")).or_default() += number;
                }
                for (key, number) in added {
                    let sum = sums.get(&key).copied().unwrap_or(0) + number;
                    match sum % 10 {
                        0 => sums.remove(&key),
                        _ => sums.insert(key, sum),
                    };
                }
                states.insert(world.batch(), sums.clone());
            }
            let clients = clients.into_iter();
            clients.map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        for copies in found {
            prop_assert!(copies.contains_key(&until));
            for (batch, copy) in copies {
                let copy: BTreeMap<_, _> =
                    copy.into_iter().map(|(key, sum)| (key, sum.as_i64().unwrap())).collect();
                prop_assert_eq!(&copy, &states[&batch], "at batch {}", batch);
            }
        }
    }
}

/// A client that takes nothing is not waited for, and nothing is kept for it.
#[test]
fn a_client_that_takes_nothing_is_told_to_read_everything_again() {
    const BATCHES: usize = 60;
    let world = World::new();
    let running = world.serve(StateDoorOptions::new().write_timeout(PATIENCE * 10));
    let follow = || {
        let mut feed = Feed::follow(running.addr(), "texts", "");
        assert_eq!(feed.next().name, "from");
        feed
    };
    let (mut feed, mut beside) = (follow(), follow());
    let before = counted();
    let batch = || {
        running.put(
            "texts in",
            &("key".to_owned(), Counted("x".repeat(1 << 20))),
        );
        running.batch()
    };
    for _ in 0..BATCHES {
        let id = batch();
        assert_eq!(beside.next().name, "change");
        assert_eq!(beside.next().id, Some(id));
    }
    // The rest fits no socket, and is not even looked at.
    let read = counted() - before - BATCHES;
    assert!(read < BATCHES, "{read} of {BATCHES}");
    drop(beside);
    for _ in 0..BATCHES {
        world.clock.advance(Duration::from_secs(11));
        batch();
    }
    running.put("texts in", &("key".to_owned(), Counted("last".to_owned())));
    let last = running.batch();
    let (mut copy, mut is_reset, mut told) = (Copied::new(), false, 0);
    loop {
        let event: Event = feed.next();
        match &*event.name {
            "reset" => {
                is_reset = true;
                read_all(running.addr(), "texts", 10, &mut copy);
            }
            "change" => apply(&mut copy, &event),
            _ => told += 1,
        }
        if event.id == Some(last) {
            break;
        }
    }
    assert!(is_reset && told < 2 * BATCHES, "{told}");
    assert_eq!(copy["\"key\""], "last");
    running.put("texts in", &("key".to_owned(), Counted("more".to_owned())));
    running.batch();
    assert_eq!(feed.next().data["value"], "more");
}

/// A batch that fails changes nothing, and its feed does not look as if nothing happened: it ends.
#[test]
fn a_program_that_fails_ends_its_feeds() {
    let world = run();
    world.add("a", 1);
    let first = world.batch();
    let mut feed = Feed::follow(world.addr(), "sums", "");
    assert_eq!(feed.next().id, Some(first));
    world.add("a", 2);
    world.add("boom", 1);
    world.context.run_batch().unwrap_err();
    assert!(feed.is_at_its_end());
    let answer = Client::connect(world.addr()).get("/state/sums/a");
    assert_eq!(answer.status, 503, "{answer:?}");
    let again = Client::connect(world.addr()).with("/changes/sums", "");
    assert_eq!(again.status, 503, "{again:?}");
}
