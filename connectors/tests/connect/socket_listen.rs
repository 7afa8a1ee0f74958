//! The line server: a line that was answered with `ok` is there after any crash, once if it was
//! numbered.

use crate::common::{Client, Collected, by_hand, open, stats};
use highwater_connectors::{BoundAddress, ListenOptions, Sources};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::{BatchMode, Error, StopMode, StreamingContext};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A started server on a free port.
fn serve(
    disk: &SimDisk,
    collected: &Collected,
    options: ListenOptions,
) -> (StreamingContext, SocketAddr) {
    let bound = BoundAddress::new();
    let options = options.report_to(&bound);
    let context = by_hand(disk, collected, |ssc| {
        ssc.socket_listen_with("lines", "127.0.0.1:0", options)
    });
    (context, bound.get().unwrap())
}

fn plain(disk: &SimDisk, collected: &Collected) -> (StreamingContext, SocketAddr) {
    serve(disk, collected, ListenOptions::new())
}

#[test]
fn an_answered_line_is_durable_and_survives_a_power_cut() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = plain(&disk, &collected);
    let mut client = Client::connect(addr);
    let mut sent = Vec::new();
    for i in 0..50 {
        let line = format!("line {i}");
        let lsn = client.deliver(&line);
        assert!(lsn < context.log().durable_lsn().get());
        sent.push(line);
    }
    disk.cut_power_now();
    for seed in 0..5 {
        let (disk, collected) = (disk.restart_after_power_cut(seed), Collected::default());
        let (context, _) = plain(&disk, &collected);
        context.run_batch().unwrap();
        assert_eq!(collected.lines(), sent);
    }
}

#[test]
fn pipelined_lines_are_answered_in_order_and_share_frames() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = plain(&disk, &collected);
    let mut client = Client::connect(addr);
    let lines: Vec<String> = (0..20_000).map(|i| format!("line {i}\r\n")).collect();
    let before = disk.mutations();
    let mut sender = client.stream.try_clone().unwrap();
    let text = lines.concat();
    let sending =
        thread::spawn(move || std::io::Write::write_all(&mut sender, text.as_bytes()).unwrap());
    let lsns: Vec<u64> = lines.iter().map(|_| client.ok()).collect();
    sending.join().unwrap();
    assert!(lsns.is_sorted());
    let frames = lsns.chunk_by(|a, b| a == b).count();
    assert!(frames < lines.len() / 5, "{frames} frames");
    assert!(
        disk.mutations() - before < 2000,
        "{} mutations",
        disk.mutations() - before
    );
    context.run_batch().unwrap();
    assert_eq!(
        collected.lines(),
        lines
            .iter()
            .map(|l| l.trim_end().to_owned())
            .collect::<Vec<_>>()
    );
}

/// F67, F69: a retry after a lost answer, on a new connection, after a crash, and after a
/// checkpoint. Each answer says whether its line was stored: a producer that had begun its numbers
/// again could not tell, and lost its lines.
#[test]
fn a_numbered_line_is_stored_once_however_often_it_is_sent_and_each_answer_says_so() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = serve(&disk, &collected, ListenOptions::new().dedup());
    let mut client = Client::connect(addr);
    let first = client.deliver("p 1 a");
    client.send("p 2 b\np 2 b\nq 1 x\np 1 a\nq 1 x\np 3 c\n");
    let b = client.ok();
    let b_again = client.duplicate();
    let x = client.ok();
    let lsns = [
        b,
        b_again,
        x,
        client.duplicate(),
        client.duplicate(),
        client.ok(),
    ];
    assert!(first < b && b <= b_again && x <= lsns[4] && b < lsns[5]);
    assert!(lsns[3] >= b, "the place of the producer's newest line then");
    drop(client);
    let mut client = Client::connect(addr);
    client.send("p 3 c\n");
    assert_eq!(client.duplicate(), lsns[5], "its own place");
    assert_eq!((stats(&context).stored, stats(&context).duplicates), (4, 4));
    disk.cut_power_now();
    drop(context);

    let disk = disk.restart_after_power_cut(1);
    let (context, addr) = serve(&disk, &collected, ListenOptions::new().dedup());
    let mut client = Client::connect(addr);
    client.send("p 1 a\np 2 b\np 3 c\np 4 d\n");
    (0..3).for_each(|_| assert_eq!(client.duplicate(), lsns[5]));
    let d = client.ok();
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    drop(context);

    let (context, addr) = serve(&disk, &collected, ListenOptions::new().dedup());
    let mut client = Client::connect(addr);
    client.send("p 4 d\nq 1 x\nq 9 \n");
    assert_eq!((client.duplicate(), client.duplicate()), (d, x));
    assert!(client.ok() > d);
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["a", "b", "x", "c", "d", ""]);
}

#[test]
fn without_numbers_a_retry_is_another_line() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = plain(&disk, &collected);
    let mut client = Client::connect(addr);
    assert!(client.deliver("p 1 a") < client.deliver("p 1 a"));
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["p 1 a", "p 1 a"]);
}

#[test]
fn a_line_without_end_is_refused_at_once_and_the_next_one_is_welcome() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = serve(&disk, &collected, ListenOptions::new().max_line_bytes(1000));
    let mut client = Client::connect(addr);
    client.send("x".repeat(1000) + "\r\nshort\n");
    assert!(client.ok() <= client.ok());
    let chunk = vec![b'x'; 1 << 20];
    (0..64).for_each(|_| client.send(&chunk));
    // The answer does not wait for the end of the line.
    assert_eq!(client.answer(), "err too long: a line may have 1000 bytes");
    client.send("\nnext\n");
    client.ok();
    context.run_batch().unwrap();
    assert_eq!(
        collected.lines(),
        ["x".repeat(1000), "short".into(), "next".into()]
    );
    assert_eq!(stats(&context).skipped, 1);
}

#[test]
fn refused_lines_are_answered_in_their_place_and_the_connection_goes_on() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = serve(&disk, &collected, ListenOptions::new().dedup());
    let mut client = Client::connect(addr);
    client.send(b"p 1 good\np 2 caf\xe9\nno number\np -1 x\n\np 3 good again\n");
    client.ok();
    assert_eq!(client.answer(), "err not utf-8: the byte at 7 of the line");
    for _ in 0..3 {
        assert_eq!(
            client.answer(),
            "err malformed: this source expects `<id> <seq> <line>`"
        );
    }
    client.ok();
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["good", "good again"]);
    assert_eq!(stats(&context).skipped, 4);
}

#[test]
fn half_a_line_at_the_end_of_a_connection_is_not_stored() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = plain(&disk, &collected);
    let mut client = Client::connect(addr);
    client.send("whole\nhal");
    client.ok();
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer(), "", "the server closes too");
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["whole"]);
    assert_eq!(stats(&context).skipped, 1);
}

#[test]
fn a_stopping_context_tells_its_clients_and_leaves_no_connection_behind() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = plain(&disk, &collected);
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(addr)).collect();
    clients
        .iter_mut()
        .for_each(|client| assert!(client.deliver("x") > 0));
    context.stop(StopMode::Graceful).unwrap();
    for client in &mut clients {
        assert_eq!(client.answer(), "err stopping");
        assert_eq!(client.answer(), "");
    }
    assert_eq!(
        collected.lines().len(),
        5,
        "what was acknowledged was processed"
    );
    TcpListener::bind(addr).unwrap();
}

/// A client that floods and never reads its answers must not keep the context from stopping.
#[test]
fn a_client_that_does_not_read_cannot_hold_up_a_stop() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = plain(&disk, &collected);
    let client = Client::connect(addr);
    client
        .stream
        .set_write_timeout(Some(std::time::Duration::from_millis(300)))
        .unwrap();
    let lines = b"\n".repeat(1 << 16);
    // Until the server stops reading because its answers are not read.
    while std::io::Write::write_all(&mut &client.stream, &lines).is_ok() {}
    context.stop(StopMode::Immediate).unwrap();
}

/// F70: a failed log is reported at once; nothing queues up.
#[test]
fn a_poisoned_log_answers_unavailable_and_closes() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (_context, addr) = plain(&disk, &collected);
    let mut client = Client::connect(addr);
    client.deliver("good");
    disk.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    client.send("lost\n");
    let answer = client.answer();
    assert!(
        answer.starts_with("err unavailable: the log is poisoned"),
        "{answer}"
    );
    assert_eq!(client.answer(), "");
    let mut another = Client::connect(addr);
    another.send("too late\n");
    assert!(
        another.answer().starts_with("err unavailable: "),
        "also without a new failure"
    );

    disk.cut_power_now();
    let (disk, collected) = (disk.restart_after_power_cut(3), Collected::default());
    let (context, _) = plain(&disk, &collected);
    context.run_batch().unwrap();
    assert_eq!(collected.lines().first().unwrap(), "good");
}

#[test]
fn a_full_disk_answers_unavailable_and_keeps_what_was_acknowledged() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = plain(&disk, &collected);
    disk.set_capacity(Some(disk.used_bytes()));
    let line = "x".repeat(10_000);
    let mut client = Client::connect(addr);
    let mut acknowledged = 0;
    let refusal = loop {
        client.send(format!("{line}\n"));
        let answer = client.answer();
        if !answer.starts_with("ok ") {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 200, "the disk never gets full");
    };
    assert!(refusal.starts_with("err unavailable: "), "{refusal}");
    disk.set_capacity(None);
    let mut client = Client::connect(addr);
    client.deliver("there is room again");
    context.run_batch().unwrap();
    assert_eq!(collected.lines().len(), acknowledged + 1);
}

#[test]
fn one_client_too_many_is_told_so() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (_context, addr) = serve(&disk, &collected, ListenOptions::new().max_connections(1));
    let mut first = Client::connect(addr);
    first.deliver("x");
    let mut second = Client::connect(addr);
    assert_eq!(second.answer(), "err busy: 1 connections are open");
    first.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(first.answer(), "");
    // The place is free when the connection's thread has ended, a moment after it closed.
    let welcome = (0..10_000).any(|_| {
        let mut next = Client::connect(addr);
        next.send("y\n");
        next.answer().starts_with("ok ")
    });
    assert!(welcome);
}

#[test]
fn an_address_in_use_keeps_the_context_from_starting_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let disk = Arc::new(SimDisk::new());
    let context = open(disk, BatchMode::Manual, &Collected::default(), |ssc| {
        ssc.socket_listen("lines", &addr)
    })
    .unwrap();
    let error = context.start().unwrap_err();
    assert!(matches!(error, Error::Source { .. }));
    let text = error.to_string();
    assert!(
        text.contains("\"lines\"") && text.contains(&format!("cannot listen on {addr}")),
        "{text}"
    );
}

#[test]
fn a_line_limit_that_the_log_cannot_take_is_refused_at_the_start() {
    let options = ListenOptions::new().max_line_bytes(1 << 20);
    let listen = |ssc: &highwater_engine::StreamScope| {
        ssc.socket_listen_with("lines", "127.0.0.1:0", options)
    };
    let context = open(
        Arc::new(SimDisk::new()),
        BatchMode::Manual,
        &Collected::default(),
        listen,
    )
    .unwrap();
    let error = context.start().unwrap_err().to_string();
    assert!(error.contains("max_line_bytes is 1048576"), "{error}");
}

/// F71: a client that sends nothing, or bytes without ever ending a line, does not keep its
/// connection for ever.
#[test]
fn a_client_that_completes_no_line_is_disconnected_and_told_why() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = ListenOptions::new()
        .max_connections(2)
        .idle_timeout(Duration::from_millis(50));
    let (context, addr) = serve(&disk, &collected, options);
    let mut silent = Client::connect(addr);
    let mut dribbling = Client::connect(addr);
    let mut dribble = dribbling.stream.try_clone().unwrap();
    let dribbled = thread::spawn(move || {
        // Until the server closes the connection; more bytes than that would mean that it never
        // does.
        (0..5_000_000).any(|_| std::io::Write::write_all(&mut dribble, b"x").is_err())
    });
    assert_eq!(silent.answer(), "err idle: no line for 50ms");
    assert_eq!(silent.answer(), "");
    assert!(dribbled.join().unwrap(), "it may send bytes for ever");
    // The answer may have gone with the reset that unread bytes cause.
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut dribbling.stream, &mut rest);
    assert!(
        rest.is_empty() || rest.starts_with(b"err "),
        "{:?}",
        String::from_utf8_lossy(&rest)
    );
    context.stop(StopMode::Graceful).unwrap();
    assert_eq!(collected.lines(), Vec::<String>::new());
}

/// F71: one machine cannot take all places.
#[test]
fn one_address_has_so_many_places_and_no_more() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = ListenOptions::new().max_connections_per_address(2);
    let (_context, addr) = serve(&disk, &collected, options);
    let mut welcome = [Client::connect(addr), Client::connect(addr)];
    welcome.iter_mut().for_each(|c| assert!(c.deliver("x") > 0));
    let mut third = Client::connect(addr);
    assert_eq!(
        third.answer(),
        "err busy: 2 connections of your address are open"
    );
    assert!(welcome.iter_mut().all(|c| c.deliver("y") > 0));
}
