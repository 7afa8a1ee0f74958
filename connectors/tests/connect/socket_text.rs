//! The client of a line server: what arrives is stored, whatever else happens on the line.

use crate::common::{Collected, open, stats};
use highwater_connectors::Sources;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{BatchMode, StopMode, StreamingContext};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

fn connect(collected: &Collected, addr: &str) -> StreamingContext {
    let disk = Arc::new(SimDisk::new());
    open(disk, BatchMode::Clock, collected, |ssc| {
        ssc.socket_text("lines", addr)
    })
    .unwrap()
}

fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    (listener, addr)
}

fn next_client(listener: &TcpListener) -> TcpStream {
    listener.accept().unwrap().0
}

#[test]
fn lines_are_stored_across_reconnections_and_bad_ones_are_counted() {
    let ((listener, addr), collected) = (server(), Collected::default());
    let context = connect(&collected, &addr);
    context.start().unwrap();
    let mut server = next_client(&listener);
    server.write_all(b"one\r\n\ncaf\xe9\ntwo\n").unwrap();
    assert_eq!(collected.wait_for(3), ["one", "", "two"]);
    server.write_all(b"this half is dr").unwrap();
    drop(server);
    // It comes again by itself.
    let mut server = next_client(&listener);
    server.write_all(b"three\n").unwrap();
    assert_eq!(collected.wait_for(4), ["one", "", "two", "three"]);
    let stats = stats(&context);
    assert_eq!((stats.stored, stats.skipped, stats.errors), (4, 2, 1));
    context.stop(StopMode::Graceful).unwrap();
}

#[test]
fn a_line_without_end_costs_a_skip_and_not_memory() {
    let ((listener, addr), collected) = (server(), Collected::default());
    let context = connect(&collected, &addr);
    context.start().unwrap();
    let mut server = next_client(&listener);
    let chunk = vec![b'x'; 1 << 20];
    (0..64).for_each(|_| server.write_all(&chunk).unwrap());
    server.write_all(b"\nafter\n").unwrap();
    assert_eq!(collected.wait_for(1), ["after"]);
    assert_eq!(stats(&context).skipped, 1);
    context.stop(StopMode::Graceful).unwrap();
}

#[test]
fn a_context_stops_while_a_silent_server_is_connected_and_while_none_is_there() {
    let ((listener, addr), collected) = (server(), Collected::default());
    let context = connect(&collected, &addr);
    context.start().unwrap();
    let server = next_client(&listener);
    context.stop(StopMode::Graceful).unwrap();
    drop((listener, server));
    let context = connect(&collected, &addr);
    context.start().unwrap();
    context.stop(StopMode::Graceful).unwrap();
}

#[test]
fn an_address_without_a_port_is_refused_at_the_start() {
    let error = connect(&Collected::default(), "localhost")
        .start()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"localhost\" is not an address: it must be host:port"),
        "{error}"
    );
}
