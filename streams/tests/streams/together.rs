//! Writers, readers, checkpoints and moving, all at once, on a real disk.

use highwater_streams::{Append, From, NewStream, Options, Position, Producer, Refusal, Streams};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const TEXT: Option<&str> = Some("text/plain");
const APPENDS: u64 = 1500;
const WRITERS: usize = 3;
/// Length of each message.
const LEN: u64 = 100;

fn message(writer: usize, n: u64) -> String {
    format!(
        "{writer}:{n:0>width$}",
        width = usize::try_from(LEN).unwrap() - 2
    )
}

fn options() -> Options {
    Options::new()
        .segment_bytes(64 << 10)
        .checkpoint_every(32 << 10, Duration::from_millis(50))
        .move_below_percent(100)
}

fn create(streams: &Streams, name: &str) {
    let new = NewStream {
        content_type: TEXT,
        ..NewStream::default()
    };
    streams.create(name, &new).unwrap().wait().unwrap().unwrap();
}

/// Each message twice, as one who has no answer would.
fn write(streams: &Streams, writer: usize) {
    for n in 0..APPENDS {
        let text = message(writer, n);
        let request = Append {
            content_type: TEXT,
            messages: &[text.as_bytes()],
            producer: Some(Producer {
                id: "w",
                epoch: 0,
                sequence: n,
            }),
            ..Append::default()
        };
        let name = writer.to_string();
        let _ = streams.append(&name, &request).unwrap();
        if n % 16 == 0 {
            let again = streams
                .append(&name, &request)
                .unwrap()
                .wait()
                .unwrap()
                .unwrap();
            assert!(again.is_duplicate);
        }
    }
}

/// From the start to the end, again and again, in pages that fit nothing.
fn read(streams: &Streams, writer: usize, left: &AtomicUsize) {
    let (mut next, name) = (0, writer.to_string());
    loop {
        let is_last = left.load(Ordering::SeqCst) == 0;
        let from = From::Position(Position::new(next));
        let page = streams
            .read(&name, from, 3333)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
        for (at, byte) in (next..).zip(&page.data) {
            let text = message(writer, at / LEN);
            assert_eq!(
                *byte,
                text.as_bytes()[usize::try_from(at % LEN).unwrap()],
                "at {at}"
            );
        }
        next = page.next.get();
        if page.is_up_to_date {
            if is_last && next == APPENDS * LEN {
                return;
            }
            next = 0;
        }
    }
}

/// A stream that comes and goes; forks of a stream that is written.
fn churn(streams: &Streams, left: &AtomicUsize) {
    let mut round = 0;
    while left.load(Ordering::SeqCst) > 0 {
        round += 1;
        create(streams, "busy");
        let request = Append {
            content_type: TEXT,
            messages: &[&[b'x'; 5000]],
            ..Append::default()
        };
        streams
            .append("busy", &request)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
        let source = highwater_streams::Source {
            name: "0",
            offset: None,
            sub_offset: 0,
        };
        let fork = NewStream {
            fork: Some(source),
            ..NewStream::default()
        };
        let made = streams
            .create("fork", &fork)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
        let end = made.stream.end.get();
        if end > 0 {
            let from = From::Position(Position::new(end - 1));
            let page = streams
                .read("fork", from, 10)
                .unwrap()
                .wait()
                .unwrap()
                .unwrap();
            assert_eq!(
                page.data,
                message(0, (end - 1) / LEN).as_bytes()[message(0, 0).len() - 1..]
            );
        }
        for name in ["busy", "fork"] {
            streams.delete(name).unwrap().wait().unwrap().unwrap();
            let gone = streams.look(name).unwrap().wait().unwrap();
            assert_eq!(gone, Err(Refusal::NotFound));
        }
        if round % 3 == 0 {
            streams.tend().unwrap();
        }
    }
}

#[test]
fn all_of_it_at_once_shows_each_message_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let streams = Streams::open(dir.path(), options()).unwrap();
    for writer in 0..WRITERS {
        create(&streams, &writer.to_string());
    }
    let left = AtomicUsize::new(WRITERS);
    thread::scope(|threads| {
        for writer in 0..WRITERS {
            let (streams, left) = (&streams, &left);
            threads.spawn(move || {
                write(streams, writer);
                left.fetch_sub(1, Ordering::SeqCst);
            });
            threads.spawn(move || read(streams, writer, left));
        }
        threads.spawn(|| churn(&streams, &left));
    });
    // Also if all of it was over before it was due.
    for _ in 0..2 {
        streams.checkpoint().unwrap();
    }
    while streams.stats().moved_bytes == 0 {
        streams.tend().unwrap();
    }
    let stats = streams.stats();
    assert_eq!((stats.streams, stats.waiting), (WRITERS, 0));
    drop(streams);
    let streams = Streams::open(dir.path(), options()).unwrap();
    for writer in 0..WRITERS {
        read(&streams, writer, &AtomicUsize::new(0));
    }
    assert_eq!(streams.stats().live_bytes, WRITERS as u64 * APPENDS * LEN);
}
