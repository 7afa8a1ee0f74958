//! Clients that mean harm, with HTTP/1.1 and below it: the others are served, and nothing is stored
//! that was not sent as a request.

use crate::client::{Client, Encryption, World, connect, patient};
use highwater_connectors::HttpOptions;
use highwater_engine::wal::disk::sim::Rng;
use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_hours(1);
const POST: &str = "POST / HTTP/1.1\r\nHost: localhost\r\n";

/// Two that read a message differently would let a sender put a request of its own into the
/// connection of another one: what has two lengths ends the connection.
#[test]
fn no_second_request_is_found_in_a_body() {
    let inner = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nsmuggled";
    let world = World::new();
    let (context, addr) = world.serve(HttpOptions::new());
    let long = inner.len() + 5;
    for (lengths, body, status) in [
        // Each with a request behind the end that one of the lengths has.
        (
            "Content-Length: 5\r\nContent-Length: 70\r\n".to_owned(),
            "hello",
            400,
        ),
        ("Content-Length: 5, 70\r\n".to_owned(), "hello", 400),
        ("Content-Length: +5\r\n".to_owned(), "hello", 400),
        ("Content-Length: 5 5\r\n".to_owned(), "hello", 400),
        ("Content-Length: 0x5\r\n".to_owned(), "hello", 400),
        ("Content-Length : 5\r\n".to_owned(), "hello", 400),
        (
            "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n".to_owned(),
            "hello",
            400,
        ),
        (
            "Transfer-Encoding: chunked, identity\r\n".to_owned(),
            "0\r\n\r\n",
            400,
        ),
        (
            "Transfer-Encoding: xchunked\r\n".to_owned(),
            "0\r\n\r\n",
            400,
        ),
        // The chunks count, as they must, and the connection ends.
        (
            format!("Content-Length: {long}\r\nTransfer-Encoding: chunked\r\n"),
            "2\r\nok\r\n0\r\n\r\n",
            200,
        ),
        (
            format!("Transfer-Encoding: chunked\r\nContent-Length: {long}\r\n"),
            "2\r\nok\r\n0\r\n\r\n",
            200,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".to_owned(),
            "2\r\nok\r\n0\r\n\r\n",
            200,
        ),
    ] {
        let mut client = Client::connect(addr);
        let _ = client.try_send(format!("{POST}{lengths}\r\n{body}{inner}"));
        let answer = client.answer().unwrap();
        assert_eq!(answer.status, status, "{lengths}: {answer:?}");
        assert!(client.answer().is_none(), "{lengths}: a second answer");
    }
    // HTTP/1.0 knows no chunks.
    let mut client = Client::connect(addr);
    let head = "POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let _ = client.try_send(format!("{head}2\r\nok\r\n0\r\n\r\n{inner}"));
    assert_eq!(client.answer().unwrap().status, 400);
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["ok"; 3]);
}

#[test]
fn a_length_that_is_not_true_stores_nothing_more() {
    let world = World::new();
    let (context, addr) = world.serve(HttpOptions::new());
    // Too short: the rest is no request.
    let mut client = Client::connect(addr);
    let _ = client.try_send(format!(
        "{POST}Content-Length: 2\r\n\r\nok and more\r\n\r\n"
    ));
    assert_eq!(client.answer().unwrap().status, 200);
    assert_eq!(client.answer().unwrap().status, 400);
    // Too long: it never comes.
    for lengths in [
        "Content-Length: 11\r\n\r\nincomplete",
        "Transfer-Encoding: chunked\r\n\r\na\r\nincomplete\r\n",
    ] {
        let mut client = Client::connect(addr);
        client.send(format!("{POST}{lengths}"));
        client.stream().shutdown(Shutdown::Write).unwrap();
        client.wait_for_end();
    }
    // Too long for any machine.
    for length in ["18446744073709551615", "18446744073709551616"] {
        let mut client = Client::connect(addr);
        client.send(format!("{POST}Content-Length: {length}\r\n\r\nx"));
        let status = client.answer().unwrap().status;
        assert!([400, 413, 431].contains(&status), "{status}");
    }
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["ok"]);
}

/// What has no end is read to a bound, and the connection closed: the client can send no more.
#[test]
fn what_does_not_end_is_ended() {
    let world = World::new();
    let options = HttpOptions::new()
        .head_timeout(LONG)
        .body_timeout(LONG)
        .max_body_bytes(1 << 20);
    let (context, addr) = world.serve(options);
    let chunked = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    for (begin, again) in [
        ("GET /", "a"),
        (POST, "a: b\r\n"),
        (POST, "a"),
        (POST, "\r"),
        ("", "\r\n"),
        (&*format!("{POST}a: "), "b"),
        (&*format!("{chunked}2;a="), "b"),
        (&*format!("{chunked}0"), "0"),
        (&*format!("{chunked}0\r\na: "), "b"),
        (&*format!("{chunked}0\r\n"), "a: b\r\n"),
        (&*chunked, "1;some=extension\r\nb\r\n"),
        (&*format!("{POST}Content-Length: 99999999\r\n\r\n"), "b"),
    ] {
        let mut stream = connect(addr);
        let _ = stream.write_all(begin.as_bytes());
        let again = again.repeat(1000);
        while patient(stream.write_all(again.as_bytes())).is_ok() {}
        Client::connect(addr).store("good");
    }
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["good"; 12]);
}

#[test]
fn what_stops_half_way_is_given_up() {
    let world = World::new();
    let options = HttpOptions::new().head_timeout(SHORT).body_timeout(SHORT);
    let (context, addr) = world.serve(options);
    for part in [
        "",
        "P",
        "POST / HTTP/1.1\r\n",
        POST,
        "PRI * HTTP/2.0\r\n\r\nS",
        "\r\n",
    ] {
        let mut client = Client::connect(addr);
        client.send(part);
        client.wait_for_end();
        // After a whole request too.
        let mut client = Client::connect(addr);
        client.store("good");
        let _ = client.try_send(part);
        client.wait_for_end();
    }
    for part in [
        "Content-Length: 4\r\n\r\nha",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nha",
    ] {
        let mut client = Client::connect(addr);
        client.send(format!("{POST}{part}"));
        assert_eq!(client.answer().unwrap().status, 408);
        client.wait_for_end();
    }
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["good"; 6]);
}

/// A handshake that stops, one of another protocol, and rubbish.
#[test]
fn what_is_no_handshake_is_given_up() {
    let world = World::new();
    let tls = World::tls().handshake_timeout(SHORT);
    let options = HttpOptions::new().tls(tls).head_timeout(LONG);
    let (context, addr) = world.serve(options);
    let good = || {
        let stream = Encryption::default().connect(addr).unwrap();
        Client::on(stream).store("good");
    };
    // The beginning of a hello, whose rest never comes.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for part in [
        &hello[..],
        &hello[..3],
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16; 5000],
        &[0; 70_000],
    ] {
        let mut client = Client::connect(addr);
        let _ = client.try_send(part);
        client.wait_for_end();
        good();
    }
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["good"; 6]);
}

#[test]
fn random_bytes_harm_nothing() {
    let world = World::new();
    let (context, addr) = world.serve(HttpOptions::new().head_timeout(SHORT));
    let other = World::new();
    let options = HttpOptions::new().tls(World::tls()).head_timeout(SHORT);
    let (other_context, other_addr) = other.serve(options);
    let mut random = Rng::new(57);
    for _ in 0..100 {
        let length = random.below(3000);
        // Mostly of what a request is made of, so that it is read a little farther.
        let bytes: Vec<u8> = (0..length)
            .map(|_| match random.below(4) {
                0 => u8::try_from(random.below(256)).unwrap(),
                _ => b"POST / HTTP/1.1\r\n: ,;0"[usize::try_from(random.below(22)).unwrap()],
            })
            .collect();
        let mut plain = Client::connect(addr);
        let _ = plain.try_send(&bytes);
        plain.wait_for_end();
        let mut on_tls = Client::connect(other_addr);
        let _ = on_tls.try_send(&bytes);
        let _ = on_tls.stream().shutdown(Shutdown::Write);
        on_tls.wait_for_end();
        let mut inside = Client::on(Encryption::default().connect(other_addr).unwrap());
        let _ = inside.try_send(&bytes);
        inside.wait_for_end();
    }
    Client::connect(addr).store("good");
    let stream = Encryption::default().connect(other_addr).unwrap();
    Client::on(stream).store("good");
    context.run_batch().unwrap();
    other_context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["good"]);
    assert_eq!(other.collected.lines(), ["good"]);
}
