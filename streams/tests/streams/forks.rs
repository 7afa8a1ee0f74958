//! Forks: what they share, and what is left when their source is deleted.

use crate::world::open;
use highwater_disk::SimDisk;
use highwater_streams::{
    Append, From, NewStream, Page, Position, Refusal, Source, Streams, Then, json_messages,
};
use std::sync::Arc;

fn streams() -> (Arc<SimDisk>, Streams) {
    let disk = Arc::new(SimDisk::new());
    (Arc::clone(&disk), open(disk).unwrap())
}

fn create(streams: &Streams, name: &str) {
    let new = NewStream {
        content_type: Some("text/plain"),
        ..NewStream::default()
    };
    assert!(
        streams
            .create(name, &new)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap()
            .is_new
    );
}

fn append(streams: &Streams, name: &str, body: &str) -> u64 {
    let body = [body.as_bytes()];
    let request = Append {
        content_type: Some("text/plain"),
        messages: &body,
        ..Append::default()
    };
    streams
        .append(name, &request)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap()
        .end
        .get()
}

fn fork(
    streams: &Streams,
    name: &str,
    source: &str,
    at: Option<u64>,
    sub_offset: u64,
) -> Result<u64, Refusal> {
    let source = Source {
        name: source,
        offset: at.map(Position::new),
        sub_offset,
    };
    let new = NewStream {
        fork: Some(source),
        ..NewStream::default()
    };
    let made = streams.create(name, &new).unwrap().wait().unwrap();
    made.map(|made| made.stream.end.get())
}

fn read(streams: &Streams, name: &str) -> Result<Page, Refusal> {
    streams
        .read(name, From::Start, 1 << 20)
        .unwrap()
        .wait()
        .unwrap()
}

fn text(streams: &Streams, name: &str) -> String {
    String::from_utf8(read(streams, name).unwrap().data).unwrap()
}

#[test]
fn a_chain_of_forks_outlives_its_sources_and_is_freed_from_the_end() {
    let (disk, streams) = streams();
    create(&streams, "a");
    append(&streams, "a", "one ");
    assert_eq!(fork(&streams, "b", "a", None, 0), Ok(4));
    append(&streams, "a", "of a");
    append(&streams, "b", "two ");
    assert_eq!(fork(&streams, "c", "b", Some(6), 0), Ok(6));
    append(&streams, "c", "three");
    for name in ["a", "b"] {
        streams.delete(name).unwrap().wait().unwrap().unwrap();
        assert_eq!(read(&streams, name), Err(Refusal::Gone));
        assert_eq!(
            streams.delete(name).unwrap().wait().unwrap(),
            Err(Refusal::Gone)
        );
    }
    assert_eq!(fork(&streams, "d", "a", None, 0), Err(Refusal::SourceGone));
    assert_eq!(text(&streams, "c"), "one twthree");
    drop(streams);
    let streams = open(disk.clone()).unwrap();
    assert_eq!(text(&streams, "c"), "one twthree");
    assert_eq!(read(&streams, "a"), Err(Refusal::Gone));
    streams.delete("c").unwrap().wait().unwrap().unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(read(&streams, name), Err(Refusal::NotFound), "{name}");
    }
    create(&streams, "a");
    assert_eq!(streams.stats().streams, 1);
    drop(streams);
    assert_eq!(open(disk).unwrap().stats().streams, 1);
}

#[test]
fn a_sub_offset_reaches_to_the_end_of_its_append_and_no_farther() {
    let (_, streams) = streams();
    create(&streams, "a");
    append(&streams, "a", "first");
    append(&streams, "a", "second");
    assert_eq!(fork(&streams, "b", "a", Some(5), 3), Ok(8));
    assert_eq!(text(&streams, "b"), "firstsec");
    assert_eq!(fork(&streams, "c", "a", Some(5), 6), Ok(11));
    for (at, sub_offset) in [(Some(5), 7), (Some(0), 6), (Some(11), 1), (None, 1)] {
        let refused = fork(&streams, "d", "a", at, sub_offset);
        assert!(matches!(refused, Err(Refusal::BadFork(_))), "{refused:?}");
    }
    // Of what it shares with its source, too.
    assert_eq!(fork(&streams, "e", "b", Some(5), 3), Ok(8));
    let refused = fork(&streams, "f", "b", Some(5), 4);
    assert!(matches!(refused, Err(Refusal::BadFork(_))), "{refused:?}");
    let refused = fork(&streams, "g", "none", Some(5), 4);
    assert_eq!(refused, Err(Refusal::SourceNotFound("none".into())));
}

#[test]
fn a_fork_that_is_asked_for_again_is_the_same_only_in_the_same_place() {
    let (_, streams) = streams();
    create(&streams, "a");
    append(&streams, "a", "text");
    assert_eq!(fork(&streams, "b", "a", Some(2), 0), Ok(2));
    append(&streams, "b", "more");
    assert_eq!(fork(&streams, "b", "a", Some(2), 0), Ok(6));
    assert_eq!(
        fork(&streams, "b", "a", None, 0),
        Ok(6),
        "no other place is named"
    );
    assert_eq!(fork(&streams, "b", "a", Some(3), 0), Err(Refusal::Exists));
    let plain = NewStream {
        content_type: Some("text/plain"),
        ..NewStream::default()
    };
    let plain = streams.create("b", &plain).unwrap().wait().unwrap();
    assert_eq!(plain, Err(Refusal::Exists));
}

#[test]
fn messages_of_a_fork_are_counted_on() {
    let (_, streams) = streams();
    let json = Some("application/json");
    let messages = json_messages(b"[1, 2, 3]").unwrap();
    let new = NewStream {
        content_type: json,
        messages: &messages,
        then: Then::Closed,
        ..NewStream::default()
    };
    streams.create("a", &new).unwrap().wait().unwrap().unwrap();
    assert_eq!(fork(&streams, "b", "a", Some(0), 2), Ok(2));
    let request = Append {
        content_type: json,
        messages: &[b"4"],
        ..Append::default()
    };
    let end = streams
        .append("b", &request)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap()
        .end;
    assert_eq!(end, Position::new(3));
    let page = read(&streams, "b").unwrap();
    assert_eq!(page.pieces().collect::<Vec<_>>(), [b"1", b"2", b"4"]);
    let other = NewStream {
        content_type: Some("text/plain"),
        fork: Some(Source {
            name: "a",
            offset: None,
            sub_offset: 0,
        }),
        ..NewStream::default()
    };
    let refused = streams.create("c", &other).unwrap().wait().unwrap();
    assert_eq!(
        refused,
        Err(Refusal::ContentType {
            expected: "application/json".into()
        })
    );
    // The refused one keeps nothing of its source.
    streams.delete("b").unwrap().wait().unwrap().unwrap();
    streams.delete("a").unwrap().wait().unwrap().unwrap();
    assert_eq!(read(&streams, "a"), Err(Refusal::NotFound));
}

/// What a page had of the source left no room for the first message of the fork: that was taken for
/// data that is missing.
#[test]
fn a_message_of_a_fork_that_does_not_fit_comes_with_the_next_page() {
    let (_disk, streams) = streams();
    let json = Some("application/json");
    let create = |name: &str, fork: Option<Source<'_>>| {
        let new = NewStream {
            content_type: json,
            fork,
            ..NewStream::default()
        };
        streams.create(name, &new).unwrap().wait().unwrap().unwrap();
    };
    let append = |name: &str, body: &str| {
        let messages = json_messages(body.as_bytes()).unwrap();
        let request = Append {
            content_type: json,
            messages: &messages,
            ..Append::default()
        };
        streams
            .append(name, &request)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
    };
    create("source", None);
    append("source", "[1, 2, 3]");
    let fork = Source {
        name: "source",
        offset: None,
        sub_offset: 0,
    };
    create("fork", Some(fork));
    let long = format!("\"{}\"", "x".repeat(500));
    append("fork", &long);
    let read = |from| {
        let page = streams.read("fork", from, 16).unwrap();
        let page = page.wait().unwrap().unwrap();
        let pieces: Vec<String> = page
            .pieces()
            .map(|piece| String::from_utf8(piece.to_vec()).unwrap())
            .collect();
        (pieces, page.next)
    };
    let (pieces, next) = read(From::Start);
    assert_eq!(pieces, ["1", "2", "3"]);
    assert_eq!(read(From::Position(next)).0, [long]);
}

/// A refusal told of a deletion that a crash could still take back: with a sub-offset it rested on
/// nothing.
#[test]
fn a_refusal_of_a_fork_waits_for_what_it_rests_on() {
    let (_disk, streams) = streams();
    create(&streams, "source");
    append(&streams, "source", "abc");
    let fork = |sub_offset: u64| {
        let source = Source {
            name: "source",
            offset: Some(Position::new(0)),
            sub_offset,
        };
        let new = NewStream {
            content_type: Some("text/plain"),
            fork: Some(source),
            ..NewStream::default()
        };
        streams.create("fork", &new).unwrap()
    };
    let deletion = streams.delete("source").unwrap();
    let deleted_at = deletion.lsn();
    assert!(deleted_at.is_some());
    // Both are decided before anything is waited for.
    let refused = [fork(0), fork(1)];
    for refused in refused {
        assert_eq!(refused.lsn(), deleted_at);
        let gone = Refusal::SourceNotFound("source".to_owned());
        assert_eq!(refused.wait().unwrap().unwrap_err(), gone);
    }
}
