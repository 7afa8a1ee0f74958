//! A line of 1 GiB, really sent: refused, in bounded memory, and the connection goes on after it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and asks the kernel for the memory of its process"
)]

mod common;

use common::{Client, Collected, by_hand, stats};
use highwater_connectors::{BoundAddress, ListenOptions, Sources};
use highwater_engine::wal::disk::SimDisk;
use std::io::Write;
use std::net::TcpListener;

const GIGABYTE: usize = 1 << 30;
/// Both tests of this file may run at once, each with a log of its own.
const MOST_MEMORY: u64 = 128 << 20;

fn write_gigabyte(to: &mut impl Write) {
    let chunk = vec![b'x'; 1 << 20];
    (0..GIGABYTE / chunk.len()).for_each(|_| to.write_all(&chunk).unwrap());
}

/// The most memory that this process ever had, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap();
    1024 * peak.trim_end_matches("kB").trim().parse::<u64>().unwrap()
}

#[test]
fn a_line_server_refuses_a_line_of_a_gigabyte() {
    let (disk, collected, bound) = (SimDisk::new(), Collected::default(), BoundAddress::new());
    let options = ListenOptions::new().report_to(&bound);
    let context = by_hand(&disk, &collected, |ssc| {
        ssc.socket_listen_with("lines", "127.0.0.1:0", options)
    });
    let mut client = Client::connect(bound.get().unwrap());
    client.deliver("before");
    write_gigabyte(&mut client.stream);
    assert_eq!(
        client.answer(),
        format!("err too long: a line may have {} bytes", max_line(&context))
    );
    client.send("\n");
    client.deliver("behind");
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["before", "behind"]);
    assert_eq!(stats(&context).skipped, 1);
    assert!(peak_memory() < MOST_MEMORY, "{} bytes", peak_memory());
}

/// The default line limit on the small segments of these tests.
fn max_line(context: &highwater_engine::StreamingContext) -> usize {
    (1 << 20).min(context.log().max_record_bytes() - 2048)
}

#[test]
fn a_line_client_skips_a_line_of_a_gigabyte() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap().to_string();
    let collected = Collected::default();
    let context = common::open(
        std::sync::Arc::new(SimDisk::new()),
        highwater_engine::BatchMode::Clock,
        &collected,
        |ssc| ssc.socket_text("lines", &addr),
    )
    .unwrap();
    context.start().unwrap();
    let (mut stream, _) = server.accept().unwrap();
    stream.write_all(b"before\n").unwrap();
    write_gigabyte(&mut stream);
    stream.write_all(b"\nbehind\n").unwrap();
    assert_eq!(collected.wait_for(2), ["before", "behind"]);
    assert_eq!(stats(&context).skipped, 1);
    assert!(peak_memory() < MOST_MEMORY, "{} bytes", peak_memory());
}
