//! Extreme settings: no duration, count or size panics, spins or waits for ever.

use crate::common::{Client, Collected, PATIENCE, open, stats};
use highwater_connectors::{BoundAddress, Line, ListenOptions, Sources};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{BatchMode, BoxError, Receiver, SourceContext, StopMode, StreamingContext};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Stops, or fails if that takes for ever.
fn stop(context: StreamingContext) {
    let (stopped, is_stopped) = mpsc::channel();
    std::thread::spawn(move || stopped.send(context.stop(StopMode::Graceful)).unwrap());
    is_stopped
        .recv_timeout(PATIENCE)
        .expect("it stops")
        .unwrap();
}

fn listen(options: ListenOptions) -> (StreamingContext, BoundAddress) {
    let bound = BoundAddress::new();
    let options = options.report_to(&bound);
    let disk = Arc::new(SimDisk::new());
    let context = open(disk, BatchMode::Clock, &Collected::default(), |ssc| {
        ssc.socket_listen_with("lines", "127.0.0.1:0", options)
    });
    (context.unwrap(), bound)
}

#[test]
fn every_idle_timeout_serves_or_disconnects_and_stops() {
    for time in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(1500),
        Duration::from_secs(u64::MAX / 2),
        Duration::MAX,
    ] {
        let (context, bound) = listen(ListenOptions::new().idle_timeout(time));
        context.start().unwrap();
        let mut client = Client::connect(bound.get().unwrap());
        let is_short = time < Duration::from_secs(1);
        if is_short {
            let answer = client.answer();
            assert!(answer.starts_with("err idle"), "{time:?}: {answer}");
        } else {
            client.deliver("line");
        }
        stop(context);
    }
}

#[test]
fn every_count_of_connections_serves_one_at_least() {
    for count in [0, 1, usize::MAX] {
        let options = ListenOptions::new().max_connections(count);
        let (context, bound) = listen(options.max_connections_per_address(count));
        context.start().unwrap();
        Client::connect(bound.get().unwrap()).deliver("line");
        stop(context);
    }
}

#[test]
fn a_length_of_lines_that_cannot_be_is_refused_with_the_bounds() {
    for bytes in [0, usize::MAX] {
        let (context, _) = listen(ListenOptions::new().max_line_bytes(bytes));
        let error = context.start().unwrap_err().to_string();
        assert!(
            error.contains("max_line_bytes") && error.contains("from 1 to"),
            "{error}"
        );
    }
}

/// Rests for each time, then for ever.
struct Rests(mpsc::Sender<bool>);

impl Receiver for Rests {
    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        for time in [Duration::ZERO, Duration::from_nanos(1)] {
            self.0.send(source.rest(time))?;
        }
        self.0.send(source.rest(Duration::MAX))?;
        self.0.send(source.rest(Duration::ZERO))?;
        Ok(())
    }
}

/// A rest of `Duration::MAX` overflowed the clock: the receiver panicked and was restarted every
/// two seconds.
#[test]
fn a_receiver_may_rest_for_ever_until_the_stop() {
    let (rested, outcomes) = mpsc::channel();
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(SimDisk::new()))
        .get_or_create(|ssc| {
            let decode = Arc::new(Line::decode);
            ssc.source("rests", "rests", decode, Rests(rested))
                .for_each_batch("nowhere", |_, _: Vec<Line>| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let next = || outcomes.recv_timeout(PATIENCE).unwrap();
    assert!(!next() && !next());
    assert_eq!(stats(&context).errors, 0);
    stop(context);
    assert!(next() && next(), "both say that it stops");
}
