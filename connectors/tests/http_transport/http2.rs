//! HTTP/2: the same answers as with HTTP/1.1, and bounds of its own.

use crate::client::{Client, Encryption, World, connect};
use crate::frames::{
    ACK, DATA, END_STREAM, GOAWAY, HEADERS, Http2, Outcome, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    status_of,
};
use highwater_connectors::HttpOptions;
use highwater_engine::StopMode;
use std::thread;
use std::time::Duration;

/// The codes that streams and connections end with.
const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;

#[test]
fn requests_are_answered_side_by_side() {
    let world = World::new();
    let (context, addr) = world.serve(HttpOptions::new());
    let mut client = Http2::on(connect(addr));
    let (first, second) = (
        client.begin("localhost", &[]),
        client.begin("localhost", &[]),
    );
    client.send(DATA, 0, first, b"fir");
    client.send(DATA, END_STREAM, second, b"second");
    let answer = client.outcome(second);
    assert_eq!(answer.status(), 200, "{answer:?}");
    client.send(DATA, END_STREAM, first, b"st");
    let Outcome::Answer(200, body) = client.outcome(first) else {
        panic!("no answer");
    };
    assert!(body.contains("\"records\":1"), "{body}");
    let lines = client.post_to("127.0.0.1", &[("content-type", "text/plain")], "a\nb\nc");
    assert_eq!(lines.status(), 200);
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["second", "first", "a", "b", "c"]);
}

/// The name by which a client reaches the server is in the address with HTTP/2. Without this check
/// a page of any site could write, by a name that leads to this machine.
#[test]
fn only_names_of_this_machine_are_served_on_it() {
    let world = World::new();
    let (context, addr) = world.serve(HttpOptions::new());
    let mut client = Http2::on(connect(addr));
    for authority in ["localhost:80", "127.0.0.1", "[::1]:1234", "LOCALHOST"] {
        let answer = client.post_to(authority, &[], "in");
        assert_eq!(answer.status(), 200, "{authority}: {answer:?}");
    }
    for (authority, headers) in [
        ("rebound.example", &[][..]),
        ("rebound.example:80", &[]),
        ("localhost.example", &[]),
        ("localhost:a@rebound.example", &[]),
        ("[::2]", &[]),
        ("", &[]),
        ("", &[("host", "rebound.example")]),
        ("localhost", &[("host", "rebound.example")]),
        ("rebound.example", &[("host", "localhost")]),
        ("localhost", &[("sec-fetch-site", "cross-site")]),
    ] {
        let answer = client.post_to(authority, headers, "out");
        assert_eq!(answer.status(), 403, "{authority} {headers:?}: {answer:?}");
    }
    // HTTP/1.1 may have the whole address in its first line.
    for (target, status) in [("http://rebound.example/", 403), ("http://localhost/", 200)] {
        let mut client = Client::connect(addr);
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nin");
        client.send(head);
        assert_eq!(client.answer().unwrap().status, status, "{target}");
    }
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["in"; 5]);
}

/// A refusal ends its own request, and no other one of the connection.
#[test]
fn a_refusal_ends_one_request() {
    let world = World::new();
    let options = HttpOptions::new()
        .token("shop", "correct-horse-battery")
        .max_body_bytes(1000);
    let (context, addr) = world.serve(options);
    let known = [("authorization", "Bearer correct-horse-battery")];
    let mut client = Http2::on(connect(addr));
    let unknown = client.begin("localhost", &[]);
    // Its body is on its way when it is refused.
    let answer = client.outcome(unknown);
    assert_eq!(answer.status(), 401, "{answer:?}");
    let _ = client.try_send(DATA, END_STREAM, unknown, b"late");
    let long = "x".repeat(1001);
    let answer = client.post_to("localhost", &known, &long);
    assert_eq!(answer.status(), 413, "{answer:?}");
    let announced = [known[0], ("content-length", "100000")];
    let announced = client.begin("localhost", &announced);
    assert_eq!(client.outcome(announced).status(), 413);
    let answer = client.post_to("localhost", &known, "in");
    assert_eq!(answer.status(), 200, "{answer:?}");
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["in"]);
}

/// The bounds are told to the client, and hold for one that does not keep them.
#[test]
fn a_connection_has_bounds() {
    let world = World::new();
    let (_context, addr) = world.serve(HttpOptions::new());
    let mut client = Http2::on(connect(addr));
    let settings = loop {
        let frame = client.frame().unwrap();
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            break frame.payload;
        }
    };
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |all, byte| all << 8 | u32::from(*byte))
    };
    let setting = |id| {
        let mut all = settings.chunks(6);
        all.find_map(|entry| (number(&entry[..2]) == id).then(|| number(&entry[2..])))
    };
    assert_eq!(setting(3), Some(128), "requests at a time");
    assert_eq!(setting(4), Some(256 << 10), "bytes of one body");
    assert_eq!(setting(6), Some(16 << 10), "bytes of a head");
    let frames = std::iter::from_fn(|| client.frame());
    let mut grants = frames.filter(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 0);
    // A connection begins with 65,535.
    let granted = number(&grants.next().unwrap().payload) + 65_535;
    assert_eq!(granted, 512 << 10, "bytes of all bodies");

    let mut client = Http2::on(connect(addr));
    let begun: Vec<u32> = (0..129).map(|_| client.begin("localhost", &[])).collect();
    assert_eq!(client.outcome(begun[128]), Outcome::Reset(REFUSED_STREAM));
    for number in &begun[..128] {
        client.send(DATA, END_STREAM, *number, b"one of many");
    }
    assert_eq!(client.outcome(begun[127]).status(), 200);
}

#[test]
fn heads_are_bounded_and_others_go_on() {
    let world = World::new();
    let (_context, addr) = world.serve(HttpOptions::new());
    let mut client = Http2::on(connect(addr));
    let many = vec![("a", "b"); 101];
    assert_eq!(client.post_to("localhost", &many, "x").status(), 431);
    assert_eq!(client.post_to("localhost", &many[1..], "x").status(), 200);
    for (bytes, status) in [(15 << 10, 200), (17 << 10, 431)] {
        let value = "x".repeat(bytes / 2);
        let headers = [("a", &*value), ("b", &*value)];
        let answer = client.post_to("localhost", &headers, "x");
        assert_eq!(answer.status(), status, "{bytes}: {answer:?}");
    }
    assert_eq!(client.post("after it").status(), 200);
}

/// One connection may have 128 requests under way, each with a head of 16 KiB: they count in what
/// all may have.
#[test]
fn heads_under_way_are_bounded_together() {
    let world = World::new();
    let options = HttpOptions::new()
        .max_bytes_in_flight(50_000)
        .body_timeout(Duration::from_hours(1))
        .min_body_rate(0, Duration::ZERO);
    let (_context, addr) = world.serve(options);
    let mut client = Http2::on(connect(addr));
    let value = "x".repeat(15_000);
    let begun: Vec<u32> = (0..10)
        .map(|_| client.begin("localhost", &[("a", &value)]))
        .collect();
    let frames = std::iter::from_fn(|| client.frame());
    let answers = frames.filter(|frame| frame.kind == HEADERS).take(7);
    let answers: Vec<_> = answers
        .map(|frame| (frame.stream, status_of(&frame.payload)))
        .collect();
    assert!(
        answers.iter().all(|(_, status)| *status == 429),
        "{answers:?}"
    );
    let waits = |number: &&u32| !answers.iter().any(|(stream, _)| stream == *number);
    for number in begun.iter().filter(waits) {
        client.send(DATA, END_STREAM, *number, b"x");
        assert_eq!(client.outcome(*number).status(), 200);
    }
    assert_eq!(client.post("again").status(), 200);
}

/// F76: a stop tells the client which requests were taken, and those are answered.
#[test]
fn a_stop_is_told() {
    let world = World::new();
    let (context, addr) = world.serve(HttpOptions::new().tls(World::tls()));
    let mut client = Http2::on(Encryption::http2().connect(addr).unwrap());
    assert_eq!(client.post("done").status(), 200);
    let half = client.begin("localhost", &[]);
    client.send(DATA, 0, half, b"ha");
    assert!(client.ping(), "it is being read");
    thread::scope(|scope| {
        let stop = scope.spawn(|| context.stop(StopMode::Graceful));
        let told = loop {
            let frame = client.frame().expect("a word before the end");
            if frame.kind == GOAWAY {
                break frame.code();
            }
        };
        assert_eq!(told, NO_ERROR);
        let _ = client.try_send(DATA, END_STREAM, half, b"lf");
        let answer = client.outcome(half);
        assert!([0, 503].contains(&answer.status()), "{answer:?}");
        client.end();
        stop.join().unwrap().unwrap();
    });
    assert_eq!(world.collected.lines(), ["done"]);
}

/// A connection that rests is ended in order, and so is one that only sends what is no request.
#[test]
fn a_connection_that_rests_is_told_to_go() {
    let world = World::new();
    let options = HttpOptions::new().head_timeout(Duration::from_millis(50));
    let (_context, addr) = world.serve(options);
    let mut client = Http2::on(connect(addr));
    assert_eq!(client.post("one").status(), 200);
    assert_eq!(client.end(), Some(NO_ERROR));
    // A head that does not end.
    let mut client = Http2::on(connect(addr));
    let number = client.number();
    client.send(HEADERS, END_STREAM, number, b"\x83");
    client.end();
    // The beginning of what a client of HTTP/2 begins with.
    let mut client = Client::connect(addr);
    client.send("PRI * HTTP/2.0\r\n");
    client.wait_for_end();
}

/// A request that its client takes back is not stored, and the others are.
#[test]
fn a_request_that_is_taken_back_is_not_stored() {
    let world = World::new();
    let (context, addr) = world.serve(HttpOptions::new());
    let mut client = Http2::on(connect(addr));
    let number = client.begin("localhost", &[]);
    client.send(DATA, 0, number, b"taken back");
    assert!(client.ping());
    client.send(RST_STREAM, 0, number, &8_u32.to_be_bytes());
    assert_eq!(client.post("kept").status(), 200);
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["kept"]);
}
