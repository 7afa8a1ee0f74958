//! Waiting for a stream to change.

use highwater_streams::{Append, From, NewStream, Options, Position, Streams, Then};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn create(streams: &Streams, name: &str) -> u64 {
    let new = NewStream {
        content_type: Some("text/plain"),
        ..NewStream::default()
    };
    streams
        .create(name, &new)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap()
        .stream
        .number
}

fn say(streams: &Streams, name: &str, body: &[u8], then: Then) {
    let messages = [body];
    let messages: &[&[u8]] = if body.is_empty() { &[] } else { &messages };
    let request = Append {
        content_type: Some("text/plain"),
        messages,
        then,
        ..Append::default()
    };
    let _ = block_on(streams.append(name, &request).unwrap().told())
        .unwrap()
        .unwrap();
}

/// Two threads answer each other through two streams, each waiting for the other: a wake that is
/// lost would end the test never.
#[test]
fn each_change_wakes_those_who_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let streams = Streams::open(dir.path(), Options::new()).unwrap();
    let (ping, pong) = (create(&streams, "ping"), create(&streams, "pong"));
    let rounds = 300;
    thread::scope(|threads| {
        threads.spawn(|| {
            for n in 0..rounds {
                block_on(streams.changed(ping, Position::new(n)));
                say(&streams, "pong", b"x", Then::Open);
            }
        });
        for n in 0..rounds {
            say(&streams, "ping", b"x", Then::Open);
            block_on(streams.changed(pong, Position::new(n)));
        }
    });
    let page = streams
        .read("pong", From::Start, 1000)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    assert_eq!(page.data.len(), 300);
    assert_eq!(streams.stats().waiting, 0);
}

/// Closing, deleting and the end of the log are changes too.
#[test]
fn an_end_wakes_all() {
    let dir = tempfile::tempdir().unwrap();
    let streams = Streams::open(dir.path(), Options::new()).unwrap();
    let numbers = ["closed", "deleted", "left"].map(|name| create(&streams, name));
    let start = Barrier::new(10);
    thread::scope(|threads| {
        for number in numbers {
            for _ in 0..3 {
                let (streams, start) = (&streams, &start);
                threads.spawn(move || {
                    start.wait();
                    block_on(streams.changed(number, Position::START));
                });
            }
        }
        start.wait();
        say(&streams, "closed", b"", Then::Closed);
        block_on(streams.delete("deleted").unwrap().told())
            .unwrap()
            .unwrap();
        streams.close().unwrap();
    });
    block_on(streams.changed(numbers[2], Position::START));
}
