//! Clients that mean harm, with HTTP/2: each attack ends its own connection, while a good client is
//! served.

use crate::client::{Client, Encryption, World, connect};
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, Outcome, PING, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, head,
};
use highwater_connectors::HttpOptions;
use highwater_engine::wal::disk::sim::Rng;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_hours(1);
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

/// More than any attack here needs until its connection ends.
const ROUNDS: usize = 10_000;

/// Time-outs that end nothing here: it is the attack that does.
fn patient() -> HttpOptions {
    HttpOptions::new().head_timeout(LONG).write_timeout(LONG)
}

fn http2(addr: SocketAddr) -> Http2<TcpStream> {
    Http2::on(connect(addr))
}

/// Repeats an attack until the connection breaks, with a good client beside it.
fn attack(addr: SocketAddr, mut once: impl FnMut(&mut Http2<TcpStream>) -> std::io::Result<()>) {
    let mut client = http2(addr);
    let mut good = Client::connect(addr);
    for round in 0..ROUNDS {
        if once(&mut client).is_err() {
            good.store("good");
            return;
        }
        if round % 100 == 0 {
            good.store("good");
        }
    }
    panic!("the connection goes on");
}

/// Each request is begun and taken back in one breath: the connection ends.
#[test]
fn requests_that_are_taken_back_at_once_end_the_connection() {
    let world = World::new();
    let (context, addr) = world.serve(patient());
    let block = head("localhost", &[]);
    attack(addr, |client| {
        let mut burst = Vec::new();
        for _ in 0..100 {
            let number = client.number();
            burst.extend(frame(HEADERS, END_HEADERS, number, &block));
            burst.extend(frame(RST_STREAM, 0, number, &CANCEL));
        }
        client.stream.write_all(&burst)
    });
    context.run_batch().unwrap();
    assert!(world.collected.lines().iter().all(|line| line == "good"));
}

/// Each request is being worked on when it is taken back: the last one of a hundred was answered.
#[test]
fn requests_that_are_taken_back_later_end_the_connection() {
    let world = World::new();
    let (_context, addr) = world.serve(patient());
    let mut client = http2(addr);
    let mut good = Client::connect(addr);
    for rounds in 0.. {
        assert!(rounds < 100, "the connection goes on");
        let begun: Vec<u32> = (0..100).map(|_| client.number()).collect();
        let mut burst = Vec::new();
        for number in &begun {
            burst.extend(frame(
                HEADERS,
                END_HEADERS,
                *number,
                &head("localhost", &[]),
            ));
            burst.extend(frame(DATA, 0, *number, b"half"));
        }
        let last = client.number();
        burst.extend(frame(HEADERS, END_HEADERS, last, &head("localhost", &[])));
        burst.extend(frame(DATA, END_STREAM, last, b"good"));
        let sent = client.stream.write_all(&burst);
        if sent.is_err() || client.outcome(last).status() != 200 {
            assert!(rounds > 5, "some may be taken back: {rounds}");
            break;
        }
        let resets = begun
            .iter()
            .map(|number| frame(RST_STREAM, 0, *number, &CANCEL));
        let _ = client
            .stream
            .write_all(&resets.collect::<Vec<_>>().concat());
        good.store("good");
    }
    good.store("good");
}

/// A client that gives up now and then, and is answered in between, goes on.
#[test]
fn a_client_may_take_back_some_requests() {
    let world = World::new();
    let (_context, addr) = world.serve(patient());
    let mut client = http2(addr);
    for round in 0..1500 {
        let number = client.begin("localhost", &[]);
        client.send(RST_STREAM, 0, number, &CANCEL);
        let outcome = client.post("in");
        assert!(
            matches!(outcome, Outcome::Answer(200, _)),
            "{round}: {outcome:?}"
        );
    }
}

/// The client makes errors, for each of which the server resets a stream.
#[test]
fn errors_that_the_server_answers_end_the_connection() {
    let world = World::new();
    let (_context, addr) = world.serve(patient());
    attack(addr, |client| {
        let number = client.number();
        client.try_send(HEADERS, END_HEADERS, number, &head("localhost", &[]))?;
        client.try_send(WINDOW_UPDATE, 0, number, &[0; 4])
    });
}

#[test]
fn a_head_that_goes_on_and_on_ends_the_connection() {
    let world = World::new();
    let (_context, addr) = world.serve(patient());
    for part in [&b""[..], &[0x83], &head("localhost", &[("a", "b")])] {
        let mut begun = false;
        attack(addr, |client| {
            if !begun {
                begun = true;
                return client.try_send(HEADERS, 0, 1, &head("localhost", &[]));
            }
            client.try_send(CONTINUATION, 0, 1, part)
        });
    }
}

/// They are answered one by one: a client that reads no answers is stopped, and one that does costs
/// what it sends.
#[test]
fn floods_of_small_frames_are_bounded() {
    let world = World::new();
    let options = HttpOptions::new().head_timeout(LONG).write_timeout(SHORT);
    let (_context, addr) = world.serve(options);
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[0, 3, 0, 0, 0, 9])] {
        let mut client = http2(addr);
        let flood = frame(kind, 0, 0, payload).repeat(1000);
        while crate::client::patient(client.stream.write_all(&flood)).is_ok() {}
        Client::connect(addr).store("good");
    }
}

/// Frames that the protocol does not allow end the connection, or the stream.
#[test]
fn what_is_no_http2_ends_the_connection() {
    let world = World::new();
    let (context, addr) = world.serve(patient());
    for frames in [
        frame(DATA, END_STREAM, 1, b"for no request"),
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            2,
            &head("localhost", &[]),
        ),
        frame(HEADERS, END_HEADERS, 0, &head("localhost", &[])),
        frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
        frame(CONTINUATION, END_HEADERS, 1, b""),
        frame(SETTINGS, 0, 0, b"five5"),
        frame(PING, 0, 0, b"seven77"),
        frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        frame(DATA, 0, 1, &[0; 20_000]),
        [
            frame(HEADERS, END_HEADERS, 1, &head("localhost", &[])),
            // More than was granted.
            frame(DATA, 0, 1, &[0; 16 << 10]).repeat(40),
            frame(DATA, 8, 1, &[200; 100]),
        ]
        .concat(),
    ] {
        let mut client = http2(addr);
        let _ = client.stream.write_all(&frames);
        client.end();
        Client::connect(addr).store("good");
    }
    // Lengths that are not true, and what only HTTP/1 has.
    for header in [
        ("content-length", "1"),
        ("content-length", "100"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("Upper", "case"),
    ] {
        let outcome = http2(addr).post_to("localhost", &[header], "body");
        let stored = matches!(outcome, Outcome::Answer(200, _));
        assert!(!stored, "{header:?}: {outcome:?}");
    }
    assert_eq!(http2(addr).post("good").status(), 200);
    context.run_batch().unwrap();
    assert!(world.collected.lines().iter().all(|line| line == "good"));
}

#[test]
fn random_frames_harm_nothing() {
    let world = World::new();
    let options = HttpOptions::new().tls(World::tls()).head_timeout(SHORT);
    let (context, addr) = world.serve(options.body_timeout(SHORT));
    let mut random = Rng::new(57);
    let mut below = |bound: u64| u32::try_from(random.below(bound)).unwrap();
    for _ in 0..60 {
        let mut client = Http2::on(Encryption::http2().connect(addr).unwrap());
        for _ in 0..40 {
            let payload: Vec<u8> = match below(3) {
                0 => head("localhost", &[("a", "b")]),
                1 => (0..below(60))
                    .map(|_| below(256).to_le_bytes()[0])
                    .collect(),
                _ => vec![0; below(9) as usize],
            };
            let [kind, flags, ..] = below(11 << 8).to_le_bytes();
            let kind = if kind > 10 { HEADERS } else { kind };
            if client.try_send(kind, flags, below(8), &payload).is_err() {
                break;
            }
        }
        client.end();
    }
    let mut client = Http2::on(Encryption::http2().connect(addr).unwrap());
    assert_eq!(client.post("good").status(), 200);
    context.run_batch().unwrap();
    assert!(world.collected.lines().contains(&"good".to_owned()));
}
