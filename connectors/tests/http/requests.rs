//! What is taken, what is refused, and what holds after a crash.

use crate::client::{Client, serve};
use crate::common::{Collected, PATIENCE, by_hand, open, stats};
use highwater_connectors::{BoundAddress, HttpOptions, Sources};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::{BatchMode, StopMode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

#[test]
fn what_was_answered_survives_a_power_cut_in_its_order() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = serve(&disk, &collected, HttpOptions::new());
    let mut client = Client::connect(addr);
    let (first, ..) = client.post(&[], "raw\nrecord").accepted();
    let (second, two, none) = client.lines("a\n\n").accepted();
    assert!(first < second);
    assert_eq!((two, none), (2, 0));
    client
        .post(&[("Content-Type", "application/json")], "[1, {\"b\": 2}]")
        .accepted();
    client
        .post(&[("Content-Type", "application/x-ndjson")], "{}\n\"x\"")
        .accepted();
    let long = "y".repeat(100_000);
    client.lines(&long).accepted();
    disk.cut_power_now();
    drop(context);

    let (disk, collected) = (disk.restart_after_power_cut(1), Collected::default());
    let (context, _) = serve(&disk, &collected, HttpOptions::new());
    context.run_batch().unwrap();
    let expected = [
        "raw\nrecord",
        "a",
        "",
        "1",
        "{\"b\": 2}",
        "{}",
        "\"x\"",
        &long,
    ];
    assert_eq!(collected.lines(), expected);
}

/// A request is all or nothing, and what is refused is answered with its reason.
#[test]
fn what_is_refused_is_not_stored_and_the_answer_says_why() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = HttpOptions::new().max_body_bytes(50_000);
    let (context, addr) = serve(&disk, &collected, options);
    let ndjson = ("Content-Type", "application/x-ndjson");
    let long = "z".repeat(50_001);
    for (headers, body, status, reason) in [
        (&[ndjson][..], "1\n{\n3", 400, "line 2: no JSON"),
        (&[], "", 400, "no record"),
        (&[("Producer-Id", "a")], "x", 400, "go together"),
        (
            &[("Producer-Id", "a"), ("Producer-Seq", "-1")],
            "x",
            400,
            "Producer-Seq",
        ),
        (
            &[("Content-Type", "application/xml")],
            "<a/>",
            415,
            "application/x-ndjson",
        ),
        (
            &[("Content-Encoding", "gzip")],
            "x",
            400,
            "cannot be decompressed",
        ),
        (
            &[("Content-Encoding", "gzip, gzip")],
            "x",
            415,
            "gzip, zstd, or none",
        ),
        (
            &[("Content-Encoding", "br")],
            "x",
            415,
            "gzip, zstd, or none",
        ),
        (&[], &long, 413, "50000 bytes"),
        (
            &[("Sec-Fetch-Site", "cross-site")],
            "x",
            403,
            "another site",
        ),
    ] {
        let answer = Client::connect(addr).post(headers, body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.body["stored"], false, "{answer:?}");
        let told = answer.body["reason"].as_str().unwrap();
        assert!(told.contains(reason), "{told}");
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (
            "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
            404,
        ),
        (
            "POST / HTTP/1.1\r\nHost: rebound.example\r\nContent-Length: 1\r\n\r\nx",
            403,
        ),
        ("GET /health/ready HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
        // A body whose length is not announced.
        (
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            200,
        ),
    ] {
        let mut client = Client::connect(addr);
        client.stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(client.answer().status, status, "{request}");
    }
    let mut client = Client::connect(addr);
    client
        .stream
        .write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = format!("8000\r\n{}\r\n", "z".repeat(0x8000));
    // It may be told, and cut off, before it has sent all.
    let _ = (0..2).try_for_each(|_| client.stream.write_all(chunk.as_bytes()));
    assert_eq!(client.answer().status, 413);
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["ok"]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// With a window of so many bits, and without the length.
fn zstd(bytes: &[u8], window: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(window).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// F73: what a compressed body becomes has the bounds of a body, and it counts in the budget only
/// as long as it is there.
#[test]
fn compressed_bodies_are_taken_and_bombs_are_not() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = HttpOptions::new()
        .max_body_bytes(50_000)
        .max_bytes_in_flight(120_000);
    let (context, addr) = serve(&disk, &collected, options);
    let post = |encoding: &str, body: &[u8]| {
        let headers = [
            ("Content-Encoding", encoding),
            ("Content-Type", "text/plain"),
        ];
        Client::connect(addr).post(&headers, body)
    };
    let whole = "z".repeat(50_000);
    let bomb = vec![b'z'; 32 << 20];
    for _ in 0..5 {
        assert_eq!(post("gzip", &gzip(b"a\nb")).accepted().1, 2);
        assert_eq!(post("zstd", &zstd(b"c", 23)).accepted().1, 1);
        post("gzip", &gzip(whole.as_bytes())).accepted();
        for (encoding, body) in [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb, 20))] {
            assert!(body.len() < 50_000, "{}", body.len());
            let answer = post(encoding, &body);
            assert_eq!(answer.status, 413, "{answer:?}");
        }
    }
    let mut damaged = gzip(b"a lot of text that says nothing");
    let last = damaged.len() - 6; // of its checksum
    damaged[last] ^= 1;
    for (encoding, body) in [
        ("gzip", damaged),
        ("gzip", gzip(b"cut")[..15].to_vec()),
        ("gzip", [gzip(b"one"), b"rubbish".to_vec()].concat()),
        ("zstd", zstd(b"cut off", 20)[..9].to_vec()),
        ("zstd", zstd(b"a window that is too large", 25)),
    ] {
        let answer = post(encoding, &body);
        assert_eq!(answer.status, 400, "{encoding} {body:?}: {answer:?}");
        assert_eq!(answer.body["stored"], false);
    }
    context.run_batch().unwrap();
    let expected = ["a", "b", "c", &*whole].repeat(5);
    assert_eq!(collected.lines(), expected);
}

/// A client learns that its request may be stored, and a retry with its key that it is.
#[test]
fn a_disk_that_takes_too_long_is_told() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let patience = |time| HttpOptions::new().answer_timeout(time);
    let (context, addr) = serve(&disk, &collected, patience(Duration::ZERO));
    let mut client = Client::connect(addr);
    let late = (0..1000).find_map(|number: u32| {
        let key = number.to_string();
        let answer = client.keyed(&key, &key);
        (answer.status != 200).then_some((key, answer))
    });
    let (key, answer) = late.expect("the disk is never at once");
    assert_eq!(
        (answer.status, &answer.body["stored"]),
        (504, &"unknown".into()),
        "{answer:?}"
    );
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let (_context, addr) = serve(&disk, &collected, patience(PATIENCE));
    assert_eq!(
        Client::connect(addr).keyed(&key, &key).accepted().2,
        1,
        "it was stored"
    );
}

/// F70: a log that fails while it writes may have stored the request: the client is told so, and
/// what comes after it is refused.
#[test]
fn a_log_that_has_failed_says_what_it_knows() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = serve(&disk, &collected, HttpOptions::new());
    let mut client = Client::connect(addr);
    let (_, kept, _) = client.lines("kept").accepted();
    assert_eq!(kept, 1);
    disk.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    let answer = client.lines("in doubt");
    assert_eq!(
        (answer.status, &answer.body["stored"]),
        (503, &"unknown".into()),
        "{answer:?}"
    );
    let answer = client.lines("after it");
    assert_eq!(
        (answer.status, &answer.body["stored"]),
        (503, &false.into()),
        "{answer:?}"
    );
    assert!(
        !answer.head.contains("retry-after"),
        "not before a restart: {answer:?}"
    );
    for (path, status) in [("/health/ready", 503), ("/health/live", 200)] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(client.answer().status, status, "{path}");
    }
    disk.cut_power_now();
    drop(context);

    let (disk, collected) = (disk.restart_after_power_cut(1), Collected::default());
    let (context, _) = serve(&disk, &collected, HttpOptions::new());
    context.run_batch().unwrap();
    let lines = collected.lines();
    assert!(
        lines == ["kept"] || lines == ["kept", "in doubt"],
        "{lines:?}"
    );
}

/// That an epoch has ended is known from a frame of a newer one. Were it told before that frame is
/// on the disk, a crash could take the frame, and the sender would have given up for nothing.
#[test]
fn an_epoch_is_ended_only_by_what_is_on_the_disk() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (_context, addr) = serve(&disk, &collected, HttpOptions::new());
    let mut client = Client::connect(addr);
    let mut post = |epoch: &str| {
        let headers = [
            ("Producer-Id", "p"),
            ("Producer-Seq", "0"),
            ("Producer-Epoch", epoch),
        ];
        client.post(&headers, epoch)
    };
    post("1").accepted();
    post("2").accepted();
    assert_eq!(post("1").status, 403);
    disk.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    assert_eq!(post("3").status, 503, "its frame is in memory only");
    let answer = post("2");
    assert_eq!(
        (answer.status, &answer.body["stored"]),
        (503, &false.into()),
        "{answer:?}"
    );
}

/// F71: a client that sends its body slowly, or not to its end, costs its own connection and no
/// other.
#[test]
fn a_body_that_does_not_come_is_given_up() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = HttpOptions::new().body_timeout(Duration::from_millis(50));
    let (context, addr) = serve(&disk, &collected, options);
    let mut slow = Client::connect(addr);
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf";
    slow.stream.write_all(head).unwrap();
    let answer = slow.answer();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    assert!(slow.try_answer().is_none(), "the connection is closed");
    let mut gone = Client::connect(addr);
    gone.stream.write_all(head).unwrap();
    drop(gone);
    Client::connect(addr).lines("good").accepted();
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["good"]);
}

/// All bodies together have a bound: a request beyond it is refused, and room comes back.
#[test]
fn bodies_under_way_are_bounded_together() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = HttpOptions::new().max_bytes_in_flight(1000);
    let (context, addr) = serve(&disk, &collected, options);
    // Until what the first one has sent is there the second one has room. It may have it when that
    // comes, and then the first one is refused: it is tried again.
    let (mut first, refused) = loop {
        let mut first = Client::connect(addr);
        let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n";
        first.stream.write_all(head).unwrap();
        first.stream.write_all(&[b'a'; 899]).unwrap();
        first.stream.set_nonblocking(true).unwrap();
        let refused = loop {
            let answer = Client::connect(addr).post(&[], [b'b'; 500]);
            if answer.status != 200 {
                break Some(answer);
            }
            if first.stream.peek(&mut [0]).is_ok() {
                break None;
            }
        };
        first.stream.set_nonblocking(false).unwrap();
        if let Some(refused) = refused {
            break (first, refused);
        }
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
    first.stream.write_all(b"a").unwrap();
    first.answer().accepted();
    Client::connect(addr).post(&[], [b'c'; 500]).accepted();
    drop(context);
}

/// F76: a stop ends the accepting; a request that is half there is refused, one that was answered
/// is in the log; no thread is left.
#[test]
fn a_stopping_context_answers_what_is_under_way() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let bound = BoundAddress::new();
    let options = HttpOptions::new().report_to(&bound);
    let clock = BatchMode::Manual;
    let context = open(Arc::new(disk), clock, &collected, |ssc| {
        ssc.http_with("events", "127.0.0.1:0", options)
    })
    .unwrap();
    context.start().unwrap();
    let addr = bound.get().unwrap();
    let mut done = Client::connect(addr);
    done.lines("done").accepted();
    let mut half = Client::connect(addr);
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nha";
    half.stream.write_all(head).unwrap();
    // It is being read: another connection is served after it was accepted.
    Client::connect(addr).lines("second").accepted();
    thread::scope(|scope| {
        let stop = scope.spawn(|| context.stop(StopMode::Graceful));
        // The connection that rests is closed by the stop.
        assert!(done.try_answer().is_none());
        let _ = half.stream.write_all(b"lf");
        if let Some(answer) = half.try_answer() {
            assert_eq!(
                (answer.status, &answer.body["stored"]),
                (503, &false.into()),
                "{answer:?}"
            );
        }
        stop.join().unwrap().unwrap();
    });
    assert!(TcpStream::connect(addr).is_err(), "it listens no more");
    assert_eq!(collected.lines(), ["done", "second"]);
}

/// A thousand requests while the context stops: those that were answered with 200 are in the log,
/// those that were refused are not, and of the others there is nothing but them.
#[test]
fn a_stop_answers_or_refuses_each_of_a_thousand_requests() {
    const CLIENTS: usize = 1000;
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.unwrap_or(u64::MAX).min(8192);
    let current = Some(limit.current.unwrap_or(u64::MAX).max(enough));
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = HttpOptions::new().max_connections_per_address(CLIENTS);
    let (context, addr) = serve(&disk, &collected, options);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(addr)).collect();
    let body = |client: usize| format!("line {client}");
    let answers: Vec<Option<u16>> = thread::scope(|scope| {
        let send = |(number, client): (usize, &mut Client)| {
            client.send(&[("Content-Type", "text/plain")], body(number).as_bytes());
        };
        clients
            .iter_mut()
            .enumerate()
            .take(CLIENTS / 3)
            .for_each(send);
        let first = clients[0].try_answer();
        let stop = scope.spawn(|| context.stop(StopMode::Graceful));
        clients
            .iter_mut()
            .enumerate()
            .skip(CLIENTS / 3)
            .for_each(send);
        let others = clients.iter_mut().skip(1).map(Client::try_answer);
        let answers = std::iter::once(first).chain(others);
        let answers = answers
            .map(|answer| answer.map(|answer| answer.status))
            .collect();
        stop.join().unwrap().unwrap();
        answers
    });
    let stored: BTreeSet<String> = collected.lines().into_iter().collect();
    assert_eq!(stored.len(), collected.lines().len(), "each once");
    // How many are answered, and how, is up to the machine.
    assert_eq!(answers[0], Some(200));
    for (number, answer) in answers.iter().enumerate() {
        let is_stored = stored.contains(&body(number));
        match answer {
            Some(200) => assert!(is_stored, "{number} was answered, and is lost"),
            Some(503) => assert!(!is_stored, "{number} was refused, and stored"),
            Some(other) => panic!("{other}"),
            None => {}
        }
    }
}

/// F76: a program that is behind takes no more requests, and says when to come back.
#[test]
fn a_program_that_is_behind_says_so() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = {
        let bound = BoundAddress::new();
        let options = HttpOptions::new().report_to(&bound);
        let context = by_hand(&disk, &collected, |ssc| {
            ssc.http_with("events", "127.0.0.1:0", options).max_rate(10)
        });
        (context, bound.get().unwrap())
    };
    let mut client = Client::connect(addr);
    let mut stored = 0;
    let refused = loop {
        let answer = client.lines("one");
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.head.contains("retry-after: "), "{refused:?}");
    context.run_batch().unwrap();
    assert_eq!(collected.lines().len(), stored);
    assert_eq!(stats(&context).stored, stored as u64);
}

#[test]
fn an_address_that_others_reach_must_be_asked_for() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let start = |options: HttpOptions| {
        let context = open(
            Arc::new(disk.clone()),
            BatchMode::Manual,
            &collected,
            |ssc| ssc.http_with("events", "0.0.0.0:0", options),
        );
        let context = context.unwrap();
        context.start().map(|_| ()).map_err(|e| e.to_string())
    };
    let error = start(HttpOptions::new()).unwrap_err();
    assert!(
        error.contains("can be reached from other machines"),
        "{error}"
    );
    start(HttpOptions::new().insecure()).unwrap();
}

/// F75: only who knows a token may write, and no message has it.
#[test]
fn senders_may_be_asked_for_a_token() {
    const SECRET: &str = "correct-horse-battery";
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = HttpOptions::new()
        .token("shop", SECRET)
        .token("till", "another-secret-16");
    assert!(!format!("{options:?}").contains(SECRET));
    let (context, addr) = serve(&disk, &collected, options);
    let post = |authorization: &str| {
        Client::connect(addr).post(&[("Authorization", authorization)], authorization)
    };
    post(&format!("Bearer {SECRET}")).accepted();
    post("bearer another-secret-16").accepted();
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Basic correct-horse-battery",
        "Bearer correct-horse-batterx",
        "Bearer correct-horse-battery-and-more",
        "Bearer correct",
        SECRET,
    ] {
        let answer = post(wrong);
        assert_eq!(answer.status, 401, "{wrong}: {answer:?}");
        assert!(
            answer.head.contains("www-authenticate: bearer"),
            "{answer:?}"
        );
        assert_eq!(answer.body["stored"], false);
        assert!(!answer.body.to_string().contains(SECRET));
    }
    assert_eq!(Client::connect(addr).lines("without").status, 401);
    context.run_batch().unwrap();
    assert_eq!(collected.lines().len(), 2);
    drop(context);
    for (secret, reason) in [
        ("tiny7", "shorter than 16"),
        ("with a blank in the middle", "a header"),
    ] {
        let options = HttpOptions::new().token("shop", secret);
        let context = open(
            Arc::new(SimDisk::new()),
            BatchMode::Manual,
            &collected,
            |ssc| ssc.http_with("events", "127.0.0.1:0", options),
        );
        let context = context.unwrap();
        let error = context.start().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("shop"), "{error}");
        assert!(!error.contains(secret), "{error}");
    }
}

#[test]
fn one_address_has_so_many_connections() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = HttpOptions::new().max_connections_per_address(2);
    let (_context, addr) = serve(&disk, &collected, options);
    let mut two = [Client::connect(addr), Client::connect(addr)];
    for client in &mut two {
        client.lines("in").accepted();
    }
    let mut third = Client::connect(addr);
    let _ = third.stream.write_all(b"POST / HTTP/1.1\r\n");
    assert!(third.try_answer().is_none(), "it is closed");
    two[0].lines("still in").accepted();
}

/// F72: whatever a client sends, the others are served, and nothing of it is stored.
#[test]
fn rubbish_harms_no_other_client() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = HttpOptions::new().head_timeout(Duration::from_millis(200));
    let (context, addr) = serve(&disk, &collected, options);
    let endless_head = format!("POST / HTTP/1.1\r\n{}", "a: b\r\n".repeat(10_000));
    let long_line = format!("POST / HTTP/1.1\r\nx: {}\r\n", "y".repeat(1 << 20));
    for rubbish in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        endless_head.as_bytes(),
        long_line.as_bytes(),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
    ] {
        let mut bad = TcpStream::connect(addr).unwrap();
        bad.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = bad.write_all(rubbish);
        let _ = bad.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = bad.read_to_end(&mut answer); // it is closed
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{rubbish:?}");
        let mut other = Client::connect(addr);
        other.lines("good").accepted();
    }
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), vec!["good"; 8]);
}
