//! Nothing waits for ever in silence: stops, senders, and what has gathered.

use crate::common::moving::move_until;
use crate::common::{builder, send};
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::wal::disk::{Clock, ManualClock, SimDisk};
use highwater_engine::{
    Ack, BatchMode, BoxError, CheckpointPolicy, Error, Receiver, SourceContext, StopMode,
    StreamScope, StreamingContext,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Stores one record, then sits in a call that knows nothing of a stop, as that of a library does.
struct Deaf {
    stored: mpsc::Sender<()>,
    waits_for: mpsc::Receiver<()>,
    after: mpsc::Sender<Result<(), Error>>,
}

impl Receiver for Deaf {
    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let lsn = source.append(&[b"stored"])?;
        source.sync_to(lsn)?;
        self.stored.send(())?;
        let _gone = self.waits_for.recv();
        self.after.send(source.append(&[b"too late"]).map(drop))?;
        Ok(())
    }
}

/// A receiver that does not return kept both kinds of stop waiting for ever, and nothing said which
/// one it was.
#[test]
fn a_stop_goes_on_without_a_receiver_that_does_not_return() {
    for mode in [StopMode::Immediate, StopMode::Graceful] {
        // The real disk: a new context maps the files that the abandoned one has mapped.
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let (stored, is_stored) = mpsc::channel();
        let (release, waits_for) = mpsc::channel();
        let (after, result) = mpsc::channel();
        let deaf = Deaf {
            stored,
            waits_for,
            after,
        };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let out = Arc::clone(&seen);
        let context = StreamingContext::builder(dir.path())
            .clock(Arc::<ManualClock>::clone(&clock))
            .receiver_stop_timeout(3 * SECOND)
            .get_or_create(move |ssc| {
                ssc.source("deaf", "queue", Arc::new(|bytes| Ok(bytes.to_vec())), deaf)
                    .for_each_batch("out", move |_, records| out.lock().extend(records));
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        is_stored.recv().unwrap();
        let (stopping, began) = (context.clone(), clock.now());
        let stop = std::thread::spawn(move || stopping.stop(mode));
        // The stop waits by the clock, which this thread moves.
        move_until(&clock, SECOND / 10, || stop.is_finished());
        stop.join().unwrap().unwrap();
        assert!(clock.now() - began >= 3 * SECOND, "not before the bound");
        if mode == StopMode::Graceful {
            assert_eq!(
                *seen.lock(),
                [b"stored"],
                "what was acknowledged is processed"
            );
        }
        // The directory is free, and the abandoned one can store nothing more.
        let free = StreamingContext::builder(dir.path()).drop_source("queue");
        free.get_or_create(|ssc| {
            ssc.input::<Vec<u8>>("other")
                .for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap();
        release.send(()).unwrap();
        assert!(matches!(result.recv().unwrap(), Err(Error::Stopped)));
    }
}

fn counting(ssc: &StreamScope) -> Result<(), BoxError> {
    ssc.input::<String>("lines")
        .count()
        .for_each_batch("out", |_, _| ());
    Ok(())
}

/// `send` before `start` waited for room that only `start` could make, which the same thread would
/// have called next.
#[test]
fn send_before_start_or_with_batches_by_hand_does_not_wait_for_room() {
    for mode in [BatchMode::Clock, BatchMode::Manual] {
        let disk = SimDisk::new();
        let context = builder(&disk, 1)
            .batches(mode)
            .max_batch_bytes(16 << 10)
            .max_unprocessed_bytes(32 << 10)
            .get_or_create(counting)
            .unwrap();
        let input = context.input::<String>("lines").unwrap();
        let fill = || loop {
            if let Err(error) = input.send(&"x".repeat(1000)).and_then(Ack::wait) {
                return error;
            }
        };
        let error = fill();
        assert!(matches!(error, Error::NoRoom { .. }), "{error}");
        for part in ["max_unprocessed_bytes is 32768", "start()", "not accepted"] {
            assert!(error.to_string().contains(part), "{part} in {error}");
        }
        context.start().unwrap();
        if mode == BatchMode::Manual {
            let error = fill();
            assert!(error.to_string().contains("run_batch()"), "{error}");
            context.run_batch().unwrap();
            send(&context, "fits again");
        } else {
            // Batches run now: senders wait for them, and get on.
            for _ in 0..100 {
                send(&context, &"x".repeat(1000));
            }
        }
        context.stop(StopMode::Graceful).unwrap();
    }
}

/// Hands its context to the test, and returns.
struct Lent(mpsc::Sender<SourceContext>);

impl Receiver for Lent {
    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        self.0.send(source.clone())?;
        Ok(())
    }
}

/// A context by the clock, whose one source is lent to the test.
fn lending(disk: &SimDisk, clock: &Arc<ManualClock>) -> (StreamingContext, SourceContext) {
    let (lend, lent) = mpsc::channel();
    let context = builder(disk, 1)
        .clock(Arc::<ManualClock>::clone(clock))
        .batches(BatchMode::Clock)
        .max_batch_bytes(32 << 10)
        .max_unprocessed_bytes(32 << 10)
        .get_or_create(move |ssc| {
            let decode = Arc::new(|bytes: bytes::Bytes| Ok(bytes.to_vec()));
            ssc.source("lent", "queue", decode, Lent(lend))
                .for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    (context, lent.recv().unwrap())
}

#[test]
fn try_append_names_the_bound_instead_of_waiting_and_a_task_awaits_room() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let (context, source) = lending(&SimDisk::new(), &clock);
    let record = [7; 1000];
    // Every refusal cuts a batch, so room comes and goes: fill up until there is none.
    let error = loop {
        if let Err(error) = source.try_append(&[&record]) {
            break error;
        }
    };
    assert!(matches!(error, Error::NoRoom { .. }), "{error}");
    for part in [
        "max_unprocessed_bytes is 32768",
        "next batch",
        "not accepted",
    ] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut ready = std::pin::pin!(source.ready());
    while ready
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        std::thread::park();
    }
    let lsn = source.try_append(&[&record]).unwrap();
    source.sync_to(lsn).unwrap();
    context.stop(StopMode::Graceful).unwrap();
    assert!(matches!(source.try_append(&[&record]), Err(Error::Stopped)));
}

/// Id, log bytes and records of each batch.
type Batches = Arc<Mutex<Vec<(u64, u64, Vec<u64>)>>>;

/// 252 MB that a crash had left uncut became one batch, which took 1.5 GB of memory.
#[test]
fn what_a_crash_left_uncut_becomes_batches_of_bounded_size() {
    const MAX: u64 = 16 << 10;
    let lines = |context: &StreamingContext, numbers: std::ops::Range<u64>| {
        numbers.for_each(|n| send(context, &format!("{n} {}", "x".repeat(700))));
    };
    let open = |disk: &SimDisk, seen: &Batches| {
        let seen = Arc::clone(seen);
        builder(disk, 2)
            .max_batch_bytes(MAX)
            .max_unprocessed_bytes(512 << 10)
            .checkpoint(CheckpointPolicy::every_batches(2))
            .get_or_create(move |ssc| {
                ssc.input::<String>("lines")
                    .map(|line: String| line.split(' ').next().unwrap().parse::<u64>().unwrap())
                    .for_each_batch("out", move |batch, numbers| {
                        seen.lock()
                            .push((batch.id, batch.to.bytes_since(batch.from), numbers));
                    });
                Ok(())
            })
            .unwrap()
    };
    let (disk, seen) = (SimDisk::new(), Batches::default());
    let context = open(&disk, &seen);
    lines(&context, 0..200);
    drop(context); // before it was started
    let context = open(&disk, &seen);
    context.start().unwrap();
    for _ in 0..5 {
        context.run_batch().unwrap();
    }
    drop(context); // in the middle of the rest, between two checkpoints
    for round in 0..2 {
        let context = open(&disk, &seen);
        context.start().unwrap();
        lines(&context, 200 + round * 50..250 + round * 50);
        if round == 1 {
            context.stop(StopMode::Graceful).unwrap();
        }
    }
    let mut seen = seen.lock().clone();
    assert!(
        seen.iter().all(|(_, bytes, _)| *bytes <= MAX + MAX / 4),
        "{seen:?}"
    );
    seen.sort_by_key(|(id, ..)| *id);
    seen.dedup(); // the batch in doubt comes again, as it was
    let ids: Vec<u64> = seen.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids, (1..=seen.len() as u64).collect::<Vec<_>>());
    let numbers: Vec<u64> = seen.into_iter().flat_map(|(.., numbers)| numbers).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>(), "all, once, in order");
}

/// By the clock: a batch that is full is cut at once, also if there is more than one.
#[test]
fn what_was_sent_before_the_start_is_cut_into_full_batches_without_waiting_for_the_interval() {
    let (disk, clock) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_000)),
    );
    let context = builder(&disk, 1)
        .clock(clock)
        .batches(BatchMode::Clock)
        .max_batch_bytes(16 << 10)
        .max_unprocessed_bytes(1 << 20)
        .get_or_create(counting)
        .unwrap();
    (0..100).for_each(|_| send(&context, &"x".repeat(1000)));
    context.start().unwrap();
    context.await_batch(5).unwrap();
    context.stop(StopMode::Graceful).unwrap();
    assert!(context.progress().batches >= 6);
}

/// "Nothing to replay", right after a restart that had twenty batches to replay.
#[test]
fn lineage_after_a_restart_counts_the_batches_that_are_still_to_be_replayed() {
    let disk = SimDisk::new();
    let run = |batches: u64| {
        let context = builder(&disk, 1)
            .checkpoint(CheckpointPolicy::every_batches(100))
            .get_or_create(counting)
            .unwrap();
        let before = context.lineage();
        context.start().unwrap();
        for _ in 0..batches {
            send(&context, "x");
            context.run_batch().unwrap();
        }
        (before, context)
    };
    let (_, context) = run(20);
    let lineage = context.lineage();
    assert_eq!((lineage.depth, lineage.last_batch), (20, Some(20)));
    drop(context);
    let (before, context) = run(0);
    assert_eq!((before.depth, before.last_batch), (20, Some(20)));
    assert!(
        before.to_string().contains("20 batches to batch 20"),
        "{before}"
    );
    assert_eq!(before.estimated_recovery, None, "nothing was run yet");
    assert_eq!(context.recovered().batches_to_replay, 20);
    let lineage = context.lineage();
    assert_eq!((lineage.depth, lineage.last_batch), (20, Some(20)));
    context.stop(StopMode::Graceful).unwrap();
    let lineage = context.lineage();
    assert_eq!((lineage.depth, lineage.last_batch), (0, Some(21)));
    assert!(
        lineage.to_string().contains("nothing to replay"),
        "{lineage}"
    );
}

/// Found in review: with a bound below the size of the engine's own records each cut made the next
/// one due, for ever.
#[test]
fn a_batch_bound_below_the_engines_own_records_does_not_cut_without_end() {
    let (disk, clock) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_000)),
    );
    let context = builder(&disk, 1)
        .clock(clock)
        .batches(BatchMode::Clock)
        .max_batch_bytes(1)
        .get_or_create(counting)
        .unwrap();
    (0..20).for_each(|_| send(&context, "x"));
    context.start().unwrap();
    context.await_batch(20).unwrap();
    context.stop(StopMode::Graceful).unwrap();
    let batches = context.progress().batches;
    assert!(
        (20..40).contains(&batches),
        "{batches} batches for 20 records"
    );
}

/// Runs a future to its end on this thread, which parks meanwhile.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            std::task::Poll::Ready(result) => return result,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn try_append_once_is_refused_without_room_and_stores_nothing() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let (context, source) = lending(&SimDisk::new(), &clock);
    let record = [7; 1000];
    let mut sequence = 0;
    let error = loop {
        match source.try_append_once("p", &[(sequence, &record)]) {
            Ok(appended) => assert_eq!(appended.duplicates, 0),
            Err(error) => break error,
        }
        sequence += 1;
    };
    assert!(matches!(error, Error::NoRoom { .. }), "{error}");
    assert_eq!(source.last_sequence("p"), Some(sequence - 1));
    block_on(source.ready()).unwrap();
    // The retry of what was refused is new, and that of what was stored is not.
    let records: [(u64, &[u8]); 2] = [(sequence - 1, &record), (sequence, &record)];
    let appended = source.try_append_once("p", &records).unwrap();
    assert_eq!(appended.duplicates, 1);
    let fenced = source.try_append_once_as("p", 1, &[(0, &record)]);
    match fenced {
        Ok(_) => assert!(source.append_once("p", &[(99, &record)]).is_err()),
        Err(error) => assert!(matches!(error, Error::NoRoom { .. }), "{error}"),
    }
    context.stop(StopMode::Graceful).unwrap();
    let late = source.try_append_once("p", &[(1000, &record)]);
    assert!(matches!(late, Err(Error::Stopped)));
}

#[test]
fn a_future_tells_when_a_record_is_durable_or_why_it_never_will_be() {
    let disk = SimDisk::new();
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let (context, source) = lending(&disk, &clock);
    let lsn = source.append(&[b"x"]).unwrap();
    let (first, second) = (source.durable(lsn), source.durable(lsn));
    drop(source.durable(lsn)); // the other waiters are served all the same
    let on_thread = std::thread::spawn(move || block_on(first));
    block_on(second).unwrap();
    on_thread.join().unwrap().unwrap();
    assert!(context.log().durable_lsn() > lsn);
    disk.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    let lost = source.append(&[b"y"]).unwrap();
    let error = block_on(source.durable(lost)).unwrap_err();
    assert!(matches!(error, Error::Log(_)), "{error}");
    assert!(context.stop(StopMode::Immediate).is_err());
}
