//! F27: a process without file descriptors goes on acknowledging on the connections it has, and
//! takes new ones as soon as it can. A file of its own, because the limit holds for the whole
//! process.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one uses up the descriptors of its process"
)]

mod common;

use common::{Client, stats};
use highwater_connectors::{BoundAddress, Line, ListenOptions, Sources};
use highwater_engine::wal::disk::{Clock, Notify, OsClock, SimDisk, WaitResult};
use highwater_engine::{BatchMode, StopMode, StreamingContext, wal};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts the waits. With batches by hand that is only the receiver.
#[derive(Debug)]
struct CountingClock {
    clock: OsClock,
    rests: AtomicU64,
}

impl Clock for CountingClock {
    fn now(&self) -> Duration {
        self.clock.now()
    }
    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }
    fn wait(&self, alarm: &Arc<Notify>, deadline: Option<Duration>) -> WaitResult {
        self.rests.fetch_add(1, Ordering::SeqCst);
        self.clock.wait(alarm, deadline)
    }
}

/// Opens files until no descriptor is left.
fn use_up() -> Vec<File> {
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(64),
            ..getrlimit(Resource::Nofile)
        },
    )
    .unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files
}

#[test]
fn accepting_rests_while_descriptors_are_scarce_and_goes_on_by_itself() {
    let bound = BoundAddress::new();
    let options = ListenOptions::new().report_to(&bound);
    let clock = Arc::new(CountingClock {
        clock: OsClock::new(),
        rests: AtomicU64::new(0),
    });
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(SimDisk::new()))
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .log(wal::Options::new().segment_size(256 << 10))
        .batches(BatchMode::Manual)
        .get_or_create(|ssc| {
            ssc.socket_listen_with("lines", "127.0.0.1:0", options)
                .for_each_batch("nowhere", |_, _: Vec<Line>| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let addr = bound.get().unwrap();
    let mut first = Client::connect(addr);
    first.deliver("while there are descriptors");
    let before = clock.rests.load(Ordering::SeqCst);

    let mut files = use_up();
    drop(files.pop());
    let mut second = TcpStream::connect(addr).unwrap(); // with the last one; the server has none to accept it
    while stats(&context).errors < 3 {
        first.deliver("acknowledged all the same");
    }
    let rests = clock.rests.load(Ordering::SeqCst) - before;
    let errors = stats(&context).errors;
    assert!(
        errors <= rests + 1,
        "{errors} failures to accept, {rests} rests: the loop spins"
    );

    drop(files);
    second.write_all(b"at last\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&second).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("ok "), "{answer}");
    context.stop(StopMode::Graceful).unwrap();
}
