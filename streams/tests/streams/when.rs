//! Positions by time, and names.

use crate::world::options;
use highwater_disk::{ManualClock, SimDisk};
use highwater_streams::{Append, From, NewStream, Position, RECORDS, Refusal, Source, Streams};
use std::sync::Arc;
use std::time::Duration;

fn create(streams: &Streams, name: &str, new: &NewStream<'_>) {
    streams.create(name, new).unwrap().wait().unwrap().unwrap();
}

fn records() -> NewStream<'static> {
    NewStream {
        content_type: Some(RECORDS),
        ..NewStream::default()
    }
}

fn append(streams: &Streams, name: &str, messages: &[&[u8]]) {
    let request = Append {
        content_type: Some(RECORDS),
        messages,
        ..Append::default()
    };
    streams
        .append(name, &request)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
}

fn at(streams: &Streams, name: &str, ms: u64) -> u64 {
    let found = streams.position_at(name, ms).unwrap().wait().unwrap();
    found.unwrap().get()
}

/// Each second two messages come; a fork shares the first ten of them.
#[test]
fn a_position_is_found_by_the_time_of_receipt() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let disk = Arc::new(SimDisk::new());
    let options = options(disk).clock(clock.clone()).move_below_percent(0);
    let streams = Streams::open("/streams", options).unwrap();
    create(&streams, "a", &records());
    for n in 0..100_u8 {
        append(&streams, "a", &[&[n; 900], &[n; 900]]);
        clock.advance(Duration::from_secs(1));
        streams.tend().unwrap();
    }
    let fork = Some(Source {
        name: "a",
        offset: Some(Position::new(10)),
        sub_offset: 0,
    });
    let content_type = Some(RECORDS);
    create(
        &streams,
        "f",
        &NewStream {
            content_type,
            fork,
            ..NewStream::default()
        },
    );
    append(&streams, "f", &[b"f"]);
    for second in 0..100 {
        let ms = 1_000_000 + 1000 * second;
        for (name, most) in [("a", 200), ("f", 10)] {
            assert_eq!(at(&streams, name, ms), (2 * second).min(most), "{name}");
            assert_eq!(
                at(&streams, name, ms + 1),
                (2 * second + 2).min(most),
                "{name}"
            );
        }
    }
    assert_eq!(at(&streams, "a", 0), 0);
    assert_eq!(at(&streams, "a", u64::MAX), 200);
    assert_eq!(at(&streams, "f", u64::MAX), 11);
    let none = streams.position_at("b", 0).unwrap().wait().unwrap();
    assert_eq!(none, Err(Refusal::NotFound));
}

/// What was moved has a common time: the position may be too early, and is never too late. The
/// times of a page are those of the frames that its messages are in.
#[test]
fn what_was_moved_is_found_no_later_than_it_is() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let disk = Arc::new(SimDisk::new());
    let streams = Streams::open("/streams", options(disk).clock(clock.clone())).unwrap();
    create(&streams, "a", &records());
    create(&streams, "big", &records());
    for n in 0..40_u8 {
        append(&streams, "a", &[&[n; 20]]);
        append(&streams, "big", &[&[n; 3000]]);
        clock.advance(Duration::from_secs(1));
    }
    streams.delete("big").unwrap().wait().unwrap().unwrap();
    streams.checkpoint().unwrap();
    streams.checkpoint().unwrap();
    for _ in 0..20 {
        streams.tend().unwrap();
    }
    assert!(streams.stats().moved_bytes > 0);
    let page = streams
        .read("a", From::Start, 1 << 20)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    let mut is_exact = true;
    for (n, found) in page.received_ms.iter().enumerate() {
        let received = 1_000_000 + 1000 * n as u64;
        assert!((received..received + 40_000).contains(found));
        let position = at(&streams, "a", received);
        assert!(position <= n as u64, "{position} for {n}");
        is_exact &= position == n as u64;
    }
    assert!(!is_exact, "nothing was moved that was looked for");
}

#[test]
fn names_are_those_that_begin_so_and_are_there() {
    let streams = Streams::open("/streams", options(Arc::new(SimDisk::new()))).unwrap();
    for name in ["t/b", "t/a", "u/a", "t/c", "t/d"] {
        create(&streams, name, &records());
    }
    streams.delete("t/a").unwrap().wait().unwrap().unwrap();
    let unheard = streams.create("t/0", &records()).unwrap();
    assert_eq!(
        streams.names("t/", 9),
        ["t/b", "t/c", "t/d"],
        "t/0 may not last"
    );
    unheard.wait().unwrap().unwrap();
    assert_eq!(streams.names("t/", 2), ["t/0", "t/b"]);
    assert_eq!(streams.names("", 9).len(), 5);
}
