//! Rates of sources: what a program bounds, what back-pressure estimates, and who waits for it.
#![allow(clippy::expect_used, reason = "test code")]

use crate::common::builder;
use crate::common::moving::move_until;
use highwater_engine::wal::disk::{Clock, ManualClock, SimDisk};
use highwater_engine::{
    Ack, BackPressure, BatchMode, BoxError, Builder, ContextEvent, Error, Receiver, Sender,
    SourceContext, StopMode, StreamScope, StreamingContext, wal,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn manual() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_700_000_000_000))
}

fn by(clock: &Arc<ManualClock>, disk: &SimDisk) -> Builder {
    builder(disk, 1).clock(Arc::<ManualClock>::clone(clock))
}

fn numbers(ssc: &StreamScope) -> Result<(), BoxError> {
    ssc.input::<u64>("numbers")
        .count()
        .for_each_batch("out", |_, _| ());
    Ok(())
}

fn try_send(input: &Sender<u64>) -> Result<(), Error> {
    input.try_send(&1).and_then(Ack::wait)
}

/// How many records pass before one is refused, and the refusal.
fn burst(send: impl Fn() -> Result<(), Error>) -> (u64, Error) {
    let mut passed = 0;
    loop {
        match send() {
            Ok(()) => passed += 1,
            Err(error) => return (passed, error),
        }
    }
}

#[test]
fn by_hand_a_record_that_is_too_fast_is_refused_with_when_and_what_to_do() {
    let clock = manual();
    let context = by(&clock, &SimDisk::new()).max_rate(100);
    let context = context.get_or_create(numbers).unwrap();
    let input = context.input::<u64>("numbers").unwrap();
    let (passed, error) = burst(|| input.send(&1).and_then(Ack::wait));
    assert_eq!(passed, 10, "a tenth of a second, also before the start");
    assert!(error.to_string().contains("Call start() first"), "{error}");
    context.start().unwrap();
    for waits in [true, false] {
        let (passed, error) = burst(|| match waits {
            true => input.send(&1).and_then(Ack::wait),
            false => try_send(&input),
        });
        assert_eq!(passed, 0);
        let Error::RateExceeded { retry_in, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*retry_in, ms(10));
        for part in [
            "\"numbers\" may have 100 records per second",
            "not accepted",
            "in 10ms",
            "run by hand",
            ".max_rate(..)",
        ] {
            assert!(error.to_string().contains(part), "{part} in {error}");
        }
        clock.advance(*retry_in);
        try_send(&input).unwrap();
    }
    // A batch makes no room for it; only time does.
    assert_eq!(context.run_batch().unwrap().id, 1);
    assert_eq!(burst(|| try_send(&input)).0, 0);
    clock.advance(60 * SECOND);
    assert_eq!(burst(|| try_send(&input)).0, 10, "no more is saved up");
    clock.advance(60 * SECOND);
    input.send_all(&[1; 35]).unwrap().wait().unwrap();
    let (_, error) = burst(|| try_send(&input));
    assert!(
        error.to_string().contains("in 260ms"),
        "a debt of 25: {error}"
    );
    context.stop(StopMode::Graceful).unwrap();
    assert!(matches!(try_send(&input), Err(Error::Stopped)));
}

#[test]
fn a_sender_waits_until_its_turn_has_come_by_the_clock_or_the_context_stops() {
    let clock = manual();
    let context = by(&clock, &SimDisk::new())
        .batches(BatchMode::Clock)
        .max_rate(10)
        .get_or_create(numbers)
        .unwrap();
    context.start().unwrap();
    let (input, began) = (context.input::<u64>("numbers").unwrap(), clock.now());
    let (sent, is_sent) = mpsc::channel();
    let of_thread = Arc::clone(&clock);
    let thread = std::thread::spawn(move || {
        loop {
            let result = input.send(&1);
            let is_over = result.is_err();
            sent.send((of_thread.now(), result.map(drop))).unwrap();
            if is_over {
                return;
            }
        }
    });
    // The first one passes at once; each other one 100 ms after the one before, and not earlier.
    for turn in 0..20 {
        let (at, result) = loop {
            match is_sent.try_recv() {
                Ok(sent) => break sent,
                Err(_) => clock.advance(ms(1)),
            }
            std::thread::yield_now();
        };
        result.unwrap();
        assert!(at - began >= ms(100) * turn, "{turn} at {at:?}");
    }
    // The clock stands from here on: a stop ends the wait all the same.
    let stop = std::thread::spawn(move || context.stop(StopMode::Immediate));
    let last = is_sent.iter().last().unwrap();
    assert!(matches!(last.1, Err(Error::Stopped)), "{last:?}");
    thread.join().unwrap();
    stop.join().unwrap().unwrap();
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
fn lending(builder: Builder) -> (StreamingContext, SourceContext) {
    let (lend, lent) = mpsc::channel();
    let context = builder
        .batches(BatchMode::Clock)
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

struct Told(mpsc::Sender<()>);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        let _gone = self.0.send(());
    }
}

type Ready = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

#[test]
fn a_task_is_woken_when_its_turn_has_come_or_the_context_stops() {
    let clock = manual();
    let (context, source) = lending(by(&clock, &SimDisk::new()).max_rate(10));
    let (tell, told) = mpsc::channel();
    let waker = Waker::from(Arc::new(Told(tell)));
    let poll = |ready: &mut Ready| ready.as_mut().poll(&mut Context::from_waker(&waker));
    let ready = || -> Ready { Box::pin(source.ready()) };
    assert!(matches!(poll(&mut ready()), Poll::Ready(Ok(()))));
    let _ = source.try_append(&[b"one"]).unwrap();
    let (mut second, began) = (ready(), clock.now());
    assert!(poll(&mut second).is_pending());
    clock.advance(ms(99));
    assert!(poll(&mut second).is_pending());
    clock.advance(ms(1));
    // No batch is due, so only the alarm can wake it.
    told.recv().unwrap();
    assert!(matches!(poll(&mut second), Poll::Ready(Ok(()))));
    assert_eq!(clock.now() - began, ms(100));
    let _ = source.try_append(&[b"two"]).unwrap();
    let mut third = ready();
    assert!(poll(&mut third).is_pending());
    let error = source.try_append(&[b"three"]).unwrap_err();
    assert!(error.to_string().contains("Try again then"), "{error}");
    while told.try_recv().is_ok() {}
    context.stop(StopMode::Graceful).unwrap();
    told.recv().unwrap();
    assert!(matches!(poll(&mut third), Poll::Ready(Err(Error::Stopped))));
}

#[test]
fn only_what_is_stored_counts() {
    let clock = manual();
    let (context, source) = lending(by(&clock, &SimDisk::new()).max_rate(100));
    let records: Vec<(u64, &[u8])> = (1..=10).map(|n| (n, &b"x"[..])).collect();
    source.append_once("p", &records).unwrap();
    clock.advance(ms(100));
    // Retries are not stored again, and use up nothing.
    for _ in 0..5 {
        let appended = source.try_append_once("p", &records).unwrap();
        assert_eq!(appended.duplicates, 10);
    }
    // Nor does what the log refuses, nor an offset without a record.
    let huge = vec![0; source.max_record_bytes() + 1];
    assert!(matches!(source.try_append(&[&huge]), Err(Error::Log(_))));
    let _ = source.advance_producer("p", 50).unwrap();
    for _ in 0..10 {
        let _ = source.try_append(&[b"x"]).unwrap();
    }
    let refused = source.try_append(&[b"x"]);
    assert!(matches!(refused, Err(Error::RateExceeded { .. })));
    let _ = source.advance_producer("p", 60).unwrap();
    context.stop(StopMode::Graceful).unwrap();
}

/// It comes from the thread that runs batches, for which others wait.
#[test]
fn output_that_is_fed_back_neither_waits_nor_counts() {
    let clock = manual();
    let (lend, lent) = mpsc::channel::<Sender<u64>>();
    let lent = Mutex::new((lent, None));
    let context = by(&clock, &SimDisk::new())
        .batches(BatchMode::Clock)
        .max_rate(10)
        .get_or_create(|ssc| {
            ssc.input::<u64>("numbers")
                .for_each_batch("out", move |_, records: Vec<u64>| {
                    let (lent, sender) = &mut *lent.lock();
                    let sender = sender.get_or_insert_with(|| lent.recv().unwrap());
                    for record in records.into_iter().filter(|record| *record == 7) {
                        for _ in 0..500 {
                            sender.send(&(record + 1)).unwrap().wait().unwrap();
                        }
                    }
                });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let input = context.input::<u64>("numbers").unwrap();
    lend.send(input.clone()).unwrap();
    input.send(&7).unwrap().wait().unwrap();
    move_until(&clock, ms(100), || context.sources()[0].1.stored >= 501);
    clock.advance(SECOND);
    assert!(try_send(&input).is_ok(), "the program's own records pass");
    context.stop(StopMode::Graceful).unwrap();
}

#[test]
fn a_source_may_have_a_rate_of_its_own_and_tests_none() {
    let clock = manual();
    let program = |ssc: &StreamScope| {
        let own = ssc.input::<u64>("own").max_rate(30);
        let all = ssc.union([own, ssc.input::<u64>("other")]);
        all.count().for_each_batch("out", |_, _| ());
        Ok(())
    };
    let bursts = |context: &StreamingContext| {
        ["own", "other"].map(|name| {
            let input = context.input::<u64>(name).unwrap();
            burst(|| try_send(&input)).0
        })
    };
    let disk = SimDisk::new();
    let context = by(&clock, &disk)
        .max_rate(50)
        .get_or_create(program)
        .unwrap();
    assert_eq!(bursts(&context), [3, 5]);
    let limits: Vec<_> = context
        .rates()
        .into_iter()
        .map(|r| (r.source, r.limit))
        .collect();
    assert_eq!(
        limits,
        [("own".to_owned(), Some(30)), ("other".to_owned(), Some(50))]
    );
    drop(context);
    let context = by(&clock, &disk).max_rate(50).without_rates();
    let context = context.get_or_create(program).unwrap();
    for name in ["own", "other"] {
        let input = context.input::<u64>(name).unwrap();
        (0..100).for_each(|_| try_send(&input).unwrap());
    }
    assert_eq!(context.rates(), []);
}

#[test]
fn rates_that_cannot_be_meant_are_refused_where_they_are_set() {
    let refused = |builder: Builder, parts: &[&str]| {
        let error = builder.get_or_create(numbers).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    let base = || builder(&SimDisk::new(), 1);
    refused(base().max_rate(0), &["max_rate must be at least 1"]);
    for (bad, part) in [
        (BackPressure::pid().min_rate(0.0), "least rate"),
        (BackPressure::pid().proportional(-1.0), "proportional"),
        (BackPressure::pid().integral(f64::NAN), "integral"),
        (BackPressure::pid().initial_rate(0), "initial rate"),
    ] {
        refused(base().back_pressure(bad), &[part]);
    }
    let graph = |program: fn(&StreamScope)| {
        let built = base().get_or_create(|ssc| {
            program(ssc);
            numbers(ssc)
        });
        built.unwrap_err().to_string()
    };
    let error = graph(|ssc| {
        let _zero = ssc.input::<u64>("a").max_rate(0);
    });
    assert!(error.contains("max_rate(0) at"), "{error}");
    let error = graph(|ssc| {
        let _not_a_source = ssc.input::<u64>("a").map(|n| n + 1).max_rate(5);
    });
    for part in [
        "max_rate(5) at",
        "tests/batches/rates.rs",
        "that of map",
        "before any operator",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

/// Runs batches whose sink takes a millisecond per record, of the clock.
fn slow_sink(
    clock: &Arc<ManualClock>,
    disk: &SimDisk,
    back_pressure: impl Into<BackPressure>,
    events: &Arc<Mutex<Vec<ContextEvent>>>,
) -> StreamingContext {
    let (slow, events) = (Arc::clone(clock), Arc::clone(events));
    let log = wal::Options::new().background(wal::Background::Inline);
    by(clock, disk)
        .log(log.segment_size(256 << 10))
        .back_pressure(back_pressure)
        .listener(move |event| events.lock().push(event.clone()))
        .get_or_create(move |ssc| {
            let all = ssc.union([ssc.input::<u64>("a"), ssc.input::<u64>("b")]);
            all.for_each_batch("out", move |_, records: Vec<u64>| {
                slow.advance(ms(records.len() as u64));
            });
            Ok(())
        })
        .unwrap()
}

/// By hand, with P = 1, I = 0.2: no batch waits, so the next rate is the processing rate.
#[test]
fn the_rate_of_a_source_follows_its_own_records_in_each_batch() {
    let (clock, events) = (manual(), Arc::<Mutex<Vec<ContextEvent>>>::default());
    let context = slow_sink(&clock, &SimDisk::new(), true, &events);
    context.start().unwrap();
    let inputs = ["a", "b"].map(|name| context.input::<u64>(name).unwrap());
    let estimated = || context.rates().into_iter().map(|rate| rate.estimated);
    let run = |a: usize, b: usize| {
        for (input, count) in inputs.iter().zip([a, b]) {
            if count > 0 {
                input.send_all(&vec![1; count]).unwrap().wait().unwrap();
            }
        }
        clock.advance(60 * SECOND);
        context.run_batch().unwrap();
        estimated().collect::<Vec<_>>()
    };
    // Before the first estimate nothing bounds it, and the first batch only says what the rate is.
    assert_eq!(run(3000, 0), [None, None]);
    // 4000 records, 4 s: 750/s of a, and the first batch of b.
    assert_eq!(run(3000, 1000), [Some(750), None]);
    // 2000 records, 2 s: a 250/s, b 750/s.
    assert_eq!(run(500, 1500), [Some(250), Some(750)]);
    // Nothing of a source changes nothing for it; 100/s is the least.
    assert_eq!(run(0, 2000), [Some(250), Some(1000)]);
    assert_eq!(run(1, 1999), [Some(100), Some(999)]);
    assert_eq!(run(0, 0), [Some(100), Some(999)], "an empty batch");
    let seen = std::mem::take(&mut *events.lock());
    let counts = seen.iter().filter_map(|event| match event {
        ContextEvent::BatchCompleted { records, .. } => Some(*records),
        _ => None,
    });
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [3000, 4000, 2000, 2000, 2000, 0]
    );
    let changes = seen.iter().filter_map(|event| match event {
        ContextEvent::RateChanged {
            source,
            records_per_second,
        } => Some((&**source, *records_per_second)),
        _ => None,
    });
    let expected = [
        ("a", 750),
        ("a", 250),
        ("b", 750),
        ("b", 1000),
        ("a", 100),
        ("b", 999),
    ];
    assert_eq!(changes.collect::<Vec<_>>(), expected);
    // What is estimated holds.
    clock.advance(60 * SECOND);
    assert_eq!(burst(|| try_send(&inputs[0])).0, 10);
    assert_eq!(burst(|| try_send(&inputs[1])).0, 99);
}

/// The sink sends while the batch runs: these records come after its cut.
#[test]
fn what_arrives_while_a_batch_runs_counts_in_the_next_one() {
    let (clock, counts) = (manual(), Arc::<Mutex<Vec<u64>>>::default());
    let (lend, lent) = mpsc::channel::<Sender<u64>>();
    let (lent, seen) = (Mutex::new(lent), Arc::clone(&counts));
    let context = by(&clock, &SimDisk::new())
        .listener(move |event| {
            if let ContextEvent::BatchCompleted { records, .. } = event {
                seen.lock().push(*records);
            }
        })
        .get_or_create(move |ssc| {
            let numbers = ssc.input::<u64>("numbers");
            numbers.for_each_batch("out", move |batch, _: Vec<u64>| {
                if batch.id == 1 {
                    let input = lent.lock().recv().unwrap();
                    input.send_all(&[2; 5]).unwrap().wait().unwrap();
                }
            });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let input = context.input::<u64>("numbers").unwrap();
    lend.send(input.clone()).unwrap();
    input.send_all(&[1; 3]).unwrap().wait().unwrap();
    for _ in 0..3 {
        context.run_batch().unwrap();
    }
    assert_eq!(*counts.lock(), [3, 5, 0]);
}

#[test]
fn what_a_crash_left_counts_where_it_is_processed_and_a_rebuilt_batch_does_not() {
    let (clock, events) = (manual(), Arc::<Mutex<Vec<ContextEvent>>>::default());
    let disk = SimDisk::new();
    let initial = BackPressure::pid().initial_rate(5000);
    let context = slow_sink(&clock, &disk, initial, &events);
    context.start().unwrap();
    let send = |context: &StreamingContext, count: usize| {
        let input = context.input::<u64>("a").unwrap();
        clock.advance(60 * SECOND);
        input.send_all(&vec![1; count]).unwrap().wait().unwrap();
    };
    send(&context, 400);
    context.run_batch().unwrap();
    send(&context, 700);
    let disk = disk.kill_process();
    drop(context);
    events.lock().clear();
    let context = slow_sink(&clock, &disk, initial, &events);
    context.start().unwrap();
    let limits = |context: &StreamingContext| context.rates()[0].limit;
    assert_eq!(limits(&context), Some(5000), "the batch was only rebuilt");
    context.run_batch().unwrap();
    assert_eq!(
        limits(&context),
        Some(5000),
        "700 records: the first that says something"
    );
    send(&context, 300);
    context.run_batch().unwrap();
    assert_eq!(limits(&context), Some(1000));
    let seen = events.lock();
    let counts = seen.iter().filter_map(|event| match event {
        ContextEvent::BatchCompleted {
            records, replayed, ..
        } => Some((*records, *replayed)),
        _ => None,
    });
    let expected = [(400, true), (700, false), (300, false)];
    assert_eq!(counts.collect::<Vec<_>>(), expected);
}
