//! Live reads.

use crate::client::world;
use highwater_serve::ServeOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATH: &str = "/v1/stream/a";
const TEXT: [(&str, &str); 1] = [("content-type", "text/plain")];

#[test]
fn a_reader_is_told_of_each_append_and_of_the_end() {
    let world = world(ServeOptions::new());
    world.text(PATH, "one");
    let mut reader = world.send("GET", &format!("{PATH}?offset=-1&live=sse"), &[], "");
    let lines = reader.lines_to("upToDate");
    assert!(lines.contains(&"data:one".to_owned()), "{lines:?}");
    assert_eq!(world.ask("POST", PATH, &TEXT, "two\n three").status, 204);
    let lines = reader.lines_to("upToDate");
    let data: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("data:") && !line.contains('{'))
        .collect();
    assert_eq!(
        data,
        ["data:two", "data:  three"],
        "a client takes one space away"
    );
    let close = [TEXT[0], ("stream-closed", "true")];
    assert_eq!(world.ask("POST", PATH, &close, "end").status, 204);
    let lines = reader.lines_to("streamClosed");
    assert!(lines.contains(&"data:end".to_owned()), "{lines:?}");
    assert_eq!(reader.answer().status, 0, "the answer has ended");
}

/// The stream that was waited for is gone; another one has its name.
#[test]
fn a_reader_is_not_told_of_another_stream_of_the_name() {
    let world = world(ServeOptions::new());
    world.text(PATH, "");
    let poll = world.send("GET", &format!("{PATH}?offset=now&live=long-poll"), &[], "");
    let mut follow = world.send("GET", &format!("{PATH}?offset=now&live=sse"), &[], "");
    follow.lines_to("upToDate");
    while world.streams.stats().waiting < 2 {
        std::thread::yield_now();
    }
    assert_eq!(world.ask("DELETE", PATH, &[], "").status, 204);
    world.text(PATH, "of another one");
    assert_eq!(poll.answer().status, 404);
    assert!(!follow.answer().body.contains("another"));
}

#[test]
fn characters_are_whole_in_events() {
    let world = world(ServeOptions::new());
    // Longer than an event, of characters with two and three bytes.
    let text = "aé€".repeat(20_000);
    world.text(PATH, &text);
    let follow = format!("{PATH}?offset=-1&live=sse");
    let mut reader = world.send("GET", &follow, &[], "");
    let lines = reader.lines_to("upToDate");
    let data = lines.iter().filter_map(|line| line.strip_prefix("data:"));
    let found: String = data.filter(|data| !data.starts_with('{')).collect();
    assert!(found == text, "{} of {} bytes", found.len(), text.len());
}

#[test]
fn a_long_poll_ends_without_data_after_its_time() {
    let world = world(ServeOptions::new().long_poll(Duration::from_millis(30)));
    world.text(PATH, "x");
    let path = format!("{PATH}?offset=now&live=long-poll");
    let answer = world.ask("GET", &path, &[], "");
    assert_eq!(
        (answer.status, answer.header("stream-up-to-date")),
        (204, Some("true"))
    );
    let next = answer.header("stream-next-offset");
    assert_eq!(next, Some("0000000000000000_0000000000000001"));
    assert!(answer.header("stream-cursor").is_some());
    assert_eq!(world.streams.stats().waiting, 0);
}

/// An answer without a body was taken for one that its client did not want: after a thousand of
/// them the connection was cut.
#[test]
fn a_connection_may_have_any_number_of_answers_without_a_body() {
    let world = world(ServeOptions::new());
    world.text(PATH, "");
    let addr = world.server.local_addr();
    let mut stream = BufReader::new(TcpStream::connect(addr).unwrap());
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: {addr}\r\ncontent-type: text/plain\r\n");
    for n in 0..2000 {
        let request = format!("{head}content-length: 1\r\n\r\nx");
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 204"), "request {n}: {line:?}");
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
        }
    }
}
