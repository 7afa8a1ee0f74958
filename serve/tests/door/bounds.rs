//! Bounds of bodies, pages and readers; the end of the server.

use crate::client::world;
use highwater_serve::ServeOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATH: &str = "/v1/stream/a";
const TEXT: [(&str, &str); 1] = [("content-type", "text/plain")];

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let world = world(ServeOptions::new().max_body_bytes(10));
    world.text(PATH, "");
    assert_eq!(world.ask("POST", PATH, &TEXT, "0123456789").status, 204);
    let mut stream = TcpStream::connect(world.server.local_addr()).unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 1000000000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Without a length it is known when it is there.
    let mut stream = TcpStream::connect(world.server.local_addr()).unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\nb\r\n0123456789a\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(world.ask("GET", PATH, &[], "").body, "0123456789");
}

#[test]
fn bodies_of_all_requests_share_their_memory() {
    let world = world(ServeOptions::new().max_bodies_bytes(4096));
    world.text(PATH, "");
    let long = "x".repeat(5000);
    let refused = world.ask("POST", PATH, &TEXT, &long);
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1"))
    );
    for _ in 0..3 {
        assert_eq!(
            world.ask("POST", PATH, &TEXT, &long[..4000]).status,
            204,
            "it is given back"
        );
    }
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let world = world(ServeOptions::new().body_timeout(Duration::from_millis(50)));
    world.text(PATH, "");
    let mut stream = TcpStream::connect(world.server.local_addr()).unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\nhalf"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(world.ask("GET", PATH, &[], "").body, "");
}

#[test]
fn pages_lead_to_the_end() {
    let world = world(ServeOptions::new().page_bytes(7));
    let json = [("content-type", "application/json")];
    assert_eq!(
        world
            .ask("PUT", PATH, &json, "[11, 22, \"a long one\", 44]")
            .status,
        201
    );
    let (mut offset, mut found) = ("-1".to_owned(), Vec::new());
    loop {
        let answer = world.ask("GET", &format!("{PATH}?offset={offset}"), &[], "");
        let page: Vec<serde_json::Value> = serde_json::from_str(&answer.body).unwrap();
        found.extend(page);
        offset = answer.header("stream-next-offset").unwrap().to_owned();
        if answer.header("stream-up-to-date").is_some() {
            break;
        }
    }
    let expected = serde_json::json!([11, 22, "a long one", 44]);
    assert_eq!(serde_json::Value::from(found), expected);
}

#[test]
fn more_readers_than_may_wait_are_told() {
    let world = world(ServeOptions::new().max_live(1));
    world.text(PATH, "x");
    let follow = format!("{PATH}?offset=-1&live=sse");
    let mut first = world.send("GET", &follow, &[], "");
    first.lines_to("upToDate");
    for live in ["sse", "long-poll"] {
        let refused = world.ask("GET", &format!("{PATH}?offset=now&live={live}"), &[], "");
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (503, Some("1"))
        );
    }
    // What needs no wait is answered.
    let at_once = world.ask("GET", &format!("{PATH}?offset=-1&live=long-poll"), &[], "");
    assert_eq!((at_once.status, at_once.body.as_str()), (200, "x"));
}

#[test]
fn the_end_of_the_server_answers_those_who_wait() {
    let world = world(ServeOptions::new());
    world.text(PATH, "x");
    let poll = world.send("GET", &format!("{PATH}?offset=now&live=long-poll"), &[], "");
    let mut follow = world.send("GET", &format!("{PATH}?offset=-1&live=sse"), &[], "");
    follow.lines_to("upToDate");
    while world.streams.stats().waiting < 2 {
        std::thread::yield_now();
    }
    let crate::client::World {
        streams, server, ..
    } = world;
    server.stop();
    assert_eq!(poll.answer().status, 503);
    let mut rest = String::new();
    follow.0.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("event: data"), "{rest}");
    assert_eq!(streams.stats().waiting, 0);
    streams.close().unwrap();
}

#[test]
fn a_stream_keeps_what_its_creation_says() {
    let world = world(ServeOptions::new());
    let keep = [TEXT[0], ("highwater-retain-bytes", "100")];
    assert_eq!(world.ask("PUT", PATH, &keep, "").status, 201);
    assert_eq!(world.ask("PUT", PATH, &keep, "").status, 200);
    let other = [TEXT[0], ("highwater-retain-bytes", "200")];
    assert_eq!(world.ask("PUT", PATH, &other, "").status, 409);
    for n in 0..30 {
        assert_eq!(
            world.ask("POST", PATH, &TEXT, &format!("{n:09};")).status,
            204
        );
    }
    while world.streams.stats().trimmed == 0 {
        world.streams.tend().unwrap(); // a share of the streams at a time
    }
    let kept = world.ask("GET", &format!("{PATH}?offset=-1"), &[], "");
    assert!((100..=120).contains(&kept.body.len()), "{kept:?}");
    assert!(kept.body.ends_with("000000029;"));
    let begin = "0000000000000000_0000000000000000";
    let gone = world.ask("GET", &format!("{PATH}?offset={begin}"), &[], "");
    assert_eq!(gone.status, 410);
    let start = gone.header("stream-next-offset").unwrap();
    let again = world.ask("GET", &format!("{PATH}?offset={start}"), &[], "");
    assert_eq!(again.body, kept.body);
}
