//! Reading at positions: many frames, many streams, many segments, small pages.

use crate::world::{open, options};
use highwater_disk::SimDisk;
use highwater_streams::{Append, From, NewStream, Position, Refusal, Streams};
use highwater_wal::WalError;
use proptest::prelude::*;
use std::sync::Arc;

fn json(streams: &Streams, name: &str) {
    let new = NewStream {
        content_type: Some("application/json"),
        ..NewStream::default()
    };
    streams.create(name, &new).unwrap().wait().unwrap().unwrap();
}

fn send(streams: &Streams, name: &str, messages: &[&[u8]]) {
    let request = Append {
        content_type: Some("application/json"),
        messages,
        ..Append::default()
    };
    let _ = streams.append(name, &request).unwrap();
}

#[test]
fn every_position_of_interleaved_streams_is_found() {
    let disk = Arc::new(SimDisk::new());
    let streams = open(disk).unwrap();
    let names: Vec<String> = (0..9).map(|n| format!("stream {n}")).collect();
    for name in &names {
        json(&streams, name);
    }
    // The first one is hot: its frames are close together.
    for n in 0..700_u32 {
        for (i, name) in names.iter().enumerate() {
            if i == 0 || n % 7 == 0 {
                send(&streams, name, &[n.to_string().as_bytes()]);
            }
        }
    }
    let close = Append {
        then: highwater_streams::Then::Closed,
        ..Append::default()
    };
    streams
        .append("stream 3", &close)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    for (i, name) in names.iter().enumerate() {
        let count = if i == 0 { 700 } else { 100 };
        for from in 0..=count {
            let page = streams
                .read(name, From::Position(Position::new(from)), 20)
                .unwrap();
            let page = page.wait().unwrap().unwrap();
            let found: Vec<u64> = page
                .pieces()
                .map(|p| std::str::from_utf8(p).unwrap().parse().unwrap())
                .collect();
            let step = if i == 0 { 1 } else { 7 };
            let expected: Vec<u64> = (from..page.next.get()).map(|n| n * step).collect();
            assert_eq!(found, expected, "{name} from {from}");
            assert!(page.next.get() > from || from == count);
            assert_eq!(page.is_up_to_date, page.next.get() == count);
        }
        let whole = streams
            .read(name, From::Start, 1 << 20)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
        assert_eq!(whole.lengths.len() as u64, count);
    }
    let beyond = streams
        .read("stream 1", From::Position(Position::new(101)), 9)
        .unwrap();
    let end = Position::new(100);
    assert_eq!(beyond.wait().unwrap(), Err(Refusal::BeyondEnd { end }));
}

#[test]
fn a_reader_sees_nothing_before_it_is_durable() {
    let streams = open(Arc::new(SimDisk::new())).unwrap();
    json(&streams, "a");
    let request = Append {
        content_type: Some("application/json"),
        messages: &[b"1"],
        ..Append::default()
    };
    let decision = streams.append("a", &request).unwrap();
    let page = || {
        streams
            .read("a", From::Start, 9)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap()
    };
    let before = page();
    assert_eq!((before.next.get(), before.is_up_to_date), (0, true));
    decision.wait().unwrap().unwrap();
    assert_eq!(page().data, b"1");
}

/// A refusal rests on frames too: it makes them durable before it is told.
#[test]
fn a_refusal_is_told_when_what_it_rests_on_is_durable() {
    let disk = Arc::new(SimDisk::new());
    let streams = open(disk.clone()).unwrap();
    json(&streams, "a");
    let close = Append {
        then: highwater_streams::Then::Closed,
        ..Append::default()
    };
    let _ = streams.append("a", &close).unwrap();
    let request = Append {
        content_type: Some("application/json"),
        messages: &[b"1"],
        ..Append::default()
    };
    let told = streams.append("a", &request).unwrap().wait().unwrap();
    assert!(matches!(told, Err(Refusal::Closed { .. })));
    disk.cut_power_now();
    drop(streams);
    let streams = open(Arc::new(disk.restart_after_power_cut(0))).unwrap();
    assert!(
        streams
            .look("a")
            .unwrap()
            .wait()
            .unwrap()
            .unwrap()
            .is_closed
    );
}

#[test]
fn a_full_log_refuses_data_and_takes_deletions() {
    let options = options(Arc::new(SimDisk::new())).max_log_bytes(256 << 10);
    let streams = Streams::open("/streams", options).unwrap();
    json(&streams, "a");
    let body = [b'1'; 3000];
    let request = Append {
        content_type: Some("application/json"),
        messages: &[&body],
        ..Append::default()
    };
    let mut sent = 0;
    let error = loop {
        match streams.append("a", &request) {
            Ok(decision) => decision.wait().unwrap().unwrap(),
            Err(error) => break error,
        };
        sent += 1;
    };
    assert!(
        matches!(
            error,
            highwater_streams::Error::Log(WalError::LogFull { .. })
        ),
        "{error}"
    );
    let page = streams
        .read("a", From::Start, 1 << 20)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    assert_eq!(page.lengths.len(), sent);
    streams.delete("a").unwrap().wait().unwrap().unwrap();
    assert_eq!(streams.stats().live_bytes, 0);
}

#[test]
fn texts_and_counts_have_bounds() {
    let options = options(Arc::new(SimDisk::new())).max_streams(2);
    let streams = Streams::open("/streams", options).unwrap();
    let create =
        |name: &str, new: &NewStream<'_>| streams.create(name, new).unwrap().wait().unwrap();
    let long = "x".repeat(1025);
    for name in ["", &long] {
        let refused = create(name, &NewStream::default());
        assert_eq!(
            refused,
            Err(Refusal::BadText {
                what: "the name",
                most: 1024
            })
        );
    }
    let typed = NewStream {
        content_type: Some(&long),
        ..NewStream::default()
    };
    create("a", &typed).unwrap_err();
    create("a", &NewStream::default()).unwrap();
    create(&long[1..], &NewStream::default()).unwrap();
    assert_eq!(
        create("c", &NewStream::default()),
        Err(Refusal::TooManyStreams { most: 2 })
    );
    let huge = vec![0; 1 << 20];
    let request = Append {
        content_type: Some("application/octet-stream"),
        messages: &[&huge],
        ..Append::default()
    };
    let refused = streams.append("a", &request).unwrap().wait().unwrap();
    assert!(
        matches!(refused, Err(Refusal::TooLarge { .. })),
        "{refused:?}"
    );
    streams.delete("a").unwrap().wait().unwrap().unwrap();
    create("c", &NewStream::default()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    /// Bytes of any appends, read in pages of any length, from the start and from any place.
    #[test]
    fn pages_of_bytes_are_the_whole(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..2000), 1..60),
        limit in 1..5000_usize,
        from in 0..100_usize,
    ) {
        let streams = open(Arc::new(SimDisk::new())).unwrap();
        let text = Some("text/plain");
        streams.create("a", &NewStream { content_type: text, ..NewStream::default() }).unwrap().wait().unwrap().unwrap();
        for body in &bodies {
            let request = Append { content_type: text, messages: &[body], ..Append::default() };
            streams.append("a", &request).unwrap().wait().unwrap().unwrap();
        }
        let whole = bodies.concat();
        let from = whole.len() * from / 100;
        let (mut found, mut next) = (Vec::new(), Position::new(from as u64));
        loop {
            let page = streams.read("a", From::Position(next), limit).unwrap().wait().unwrap().unwrap();
            prop_assert!(page.data.len() <= limit);
            found.extend(page.data);
            next = page.next;
            if page.is_up_to_date {
                break;
            }
        }
        prop_assert_eq!(&found, &whole[from..]);
    }
}
