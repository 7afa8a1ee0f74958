//! Sources that keep their own data: which offsets a batch has is in its cut, so they are read
//! again after a crash, each record counts once, and what a checkpoint covers is released.
#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "test code"
)]

use crate::common::broker::Broker;
use crate::common::moving::move_until;
use crate::common::world::{Visible, show};
use crate::common::{builder, send};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    BatchMode, Builder, CheckpointPolicy, ContextState, DStream, Error, ErrorPolicy, Mismatch,
    Result, StopMode, StreamScope, StreamingContext,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const GROUPS: u64 = 8;

type Seen = Arc<Mutex<BTreeMap<u64, Vec<String>>>>;

/// A program that shows the records of `broker`, batch by batch.
fn open(builder: Builder, broker: &Arc<Broker>) -> Result<(StreamingContext, Seen)> {
    let (broker, seen) = (Arc::clone(broker), Seen::default());
    let out = Arc::clone(&seen);
    let context = builder.get_or_create(move |ssc| {
        let lines = ssc.input::<String>("lines");
        lines.union(&broker.stream(ssc, "broker")).for_each_batch(
            "out",
            move |batch, records: Vec<String>| {
                out.lock().insert(batch.id, records);
            },
        );
        Ok(())
    })?;
    context.start()?;
    Ok((context, seen))
}

fn errors(context: &StreamingContext) -> u64 {
    let sources = context.sources();
    sources.iter().map(|(_, stats)| stats.errors).sum()
}

#[test]
fn records_come_after_those_of_the_log_by_source_and_offset() {
    for workers in 1..=3 {
        let (disk, broker) = (SimDisk::new(), Arc::new(Broker::default()));
        let (context, seen) = open(builder(&disk, workers), &broker).unwrap();
        broker.push("b", "b0");
        broker.push("a", "a0");
        send(&context, "line");
        broker.push("a", "a1");
        context.run_batch().unwrap();
        context.run_batch().unwrap();
        broker.push("b", "b1");
        context.run_batch().unwrap();
        let expected = [
            (1, vec!["line", "a0", "a1", "b0"]),
            (2, vec![]),
            (3, vec!["b1"]),
        ];
        let expected = expected.map(|(n, of)| (n, of.into_iter().map(String::from).collect()));
        assert_eq!(*seen.lock(), BTreeMap::from(expected), "{workers} workers");
        let (_, stats) = &context.sources()[1];
        assert_eq!((stats.stored, stats.errors), (4, 0));
        // A stop does not go on reading.
        broker.push("b", "b2");
        context.stop(StopMode::Graceful).unwrap();
        drop(context);
        let (context, seen) = open(builder(&disk, workers), &broker).unwrap();
        context.run_batch().unwrap();
        let seen: Vec<String> = seen.lock().values().flatten().cloned().collect();
        assert_eq!(seen, ["b2"], "and a restart goes on where it was");
    }
}

/// Lives through crashes; the broker and what was shown do not.
struct World {
    broker: Arc<Broker>,
    counts: Visible,
    workers: usize,
    change: fn(Builder) -> Builder,
}

/// Words of the log and of the broker, counted; the broker's bad ones are skipped.
fn counted(ssc: &StreamScope, broker: &Arc<Broker>) -> DStream<(String, u64)> {
    let words = broker
        .stream(ssc, "broker")
        .on_error(ErrorPolicy::Skip)
        .try_map(|word: String| match word.strip_prefix("bad") {
            Some(_) => Err("bad"),
            None => Ok(word),
        })
        .named("good words");
    ssc.input::<String>("lines")
        .union(&words)
        .map(|word| (word, 1_u64))
        .update_state_by_key("counts", |_, new: &[u64], total: &mut Option<u64>| {
            *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
        })
}

impl World {
    fn new(workers: usize, change: fn(Builder) -> Builder) -> Self {
        Self {
            broker: Arc::new(Broker::at_once(4)),
            counts: Visible::default(),
            workers,
            change,
        }
    }

    fn open(&self, disk: &SimDisk) -> Result<StreamingContext> {
        let (broker, counts) = (Arc::clone(&self.broker), Arc::clone(&self.counts));
        (self.change)(builder(disk, self.workers)).get_or_create(move |ssc| {
            counted(ssc, &broker).for_each_batch("shown", move |batch, records| {
                show(&counts, batch.id, &records);
            });
            Ok(())
        })
    }

    /// The broker has the records of a group.
    fn fill(&self, group: u64) {
        for (partition, count) in [("even", group % 5), ("odd", 3), ("late", group / 7)] {
            let word = |n| match n {
                1 => format!("bad {group}"),
                n => format!("w{}", (group + n) % 4),
            };
            let before: u64 = (1..group)
                .map(|g| match partition {
                    "even" => g % 5,
                    "odd" => 3,
                    _ => g / 7,
                })
                .sum();
            let there = self.broker.end(partition).saturating_sub(before);
            (there..count).for_each(|n| self.broker.push(partition, word(n)));
        }
    }

    fn live(&self, disk: &SimDisk) -> Result<()> {
        let context = self.open(disk)?;
        context.start()?;
        let input = context.input::<String>("lines")?;
        let done = context.progress().last_batch.unwrap_or(0);
        for group in done + 1..=GROUPS {
            self.fill(group);
            let line = format!("w{}", group % 3);
            input.send_once("client", group, &line)?.wait()?;
            assert_eq!(context.run_batch()?.id, group);
        }
        context.stop(StopMode::Graceful)
    }
}

fn uninterrupted(workers: usize) -> (BTreeMap<u64, Vec<(String, u64)>>, u64) {
    let (world, disk) = (World::new(workers, |b| b), SimDisk::new());
    world.live(&disk).unwrap();
    let counts = world.counts.lock().clone();
    // Of the checkpoints after batches 3, 6 and the last one, the newer two are retained.
    assert_eq!(
        (world.broker.first("odd"), world.broker.end("odd")),
        (18, 24)
    );
    let reads = world.broker.reads.load(Ordering::SeqCst);
    assert!(reads > GROUPS, "more than one range in a batch");
    (counts, disk.mutations())
}

/// What a crash would lose, or count twice: a word, a position, a skipped record; or what would
/// have been released too soon, since the broker forgets what is released.
fn cut_everywhere(step: usize, workers: [usize; 2], change: fn(Builder) -> Builder) {
    let (expected, mutations) = uninterrupted(1);
    assert_eq!(uninterrupted(workers[0]).0, expected);
    for cut in (0..mutations).step_by(step) {
        let (mut world, disk) = (World::new(workers[0], change), SimDisk::new());
        disk.cut_power_before(cut);
        let outcome = world.live(&disk);
        assert!(
            outcome.is_err() || cut + 10 >= mutations,
            "{cut} of {mutations}"
        );
        let disk = disk.restart_after_power_cut(cut);
        world.workers = workers[1];
        let what = format!("{workers:?} workers, power cut before {cut}");
        world.live(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
        for group in 1..=GROUPS {
            let (found, expected) = (&world.counts.lock()[&group], &expected[&group]);
            assert_eq!(found, expected, "{what}: batch {group}");
        }
    }
}

#[test]
fn one_worker_survives_a_power_cut_before_every_disk_operation() {
    cut_everywhere(1, [1, 1], |builder| builder);
}

#[test]
fn the_number_of_workers_may_change_in_a_power_cut() {
    cut_everywhere(5, [2, 3], |builder| builder);
    cut_everywhere(7, [3, 1], |builder| builder);
}

/// The workers are built again, from a checkpoint and the offsets in the cuts, after a failure.
#[test]
fn ranges_are_read_again_when_the_workers_are_built_again() {
    let mut expected = uninterrupted(2).0;
    expected.retain(|batch, _| *batch <= GROUPS); // the last one is that of the stop
    for group in 1..=GROUPS {
        let (world, disk) = (World::new(2, |b| b.always_rebuild(true)), SimDisk::new());
        let (broker, counts) = (Arc::clone(&world.broker), Arc::clone(&world.counts));
        let failures = Mutex::new(1);
        let fails_at = group;
        let builder = (world.change)(builder(&disk, 2)).max_batch_failures(2);
        let context = builder.get_or_create(move |ssc| {
            let counted = counted(ssc, &broker);
            let counted = counted.transform(move |records, batch| {
                let mut failures = failures.lock();
                if batch.id == fails_at && *failures > 0 {
                    *failures -= 1;
                    panic!("on purpose");
                }
                records
            });
            counted.for_each_batch("shown", move |batch, records| {
                show(&counts, batch.id, &records);
            });
            Ok(())
        });
        let context = context.unwrap();
        context.start().unwrap();
        for group in 1..=GROUPS {
            world.fill(group);
            send(&context, &format!("w{}", group % 3));
            context.run_batch().unwrap();
        }
        assert_eq!(*world.counts.lock(), expected, "batch {group} failed");
    }
}

#[test]
fn a_past_batch_is_computed_again_from_its_offsets() {
    let (disk, broker) = (SimDisk::new(), Arc::new(Broker::default()));
    let of = Arc::clone(&broker);
    let builder = builder(&disk, 2).checkpoint(CheckpointPolicy::every_batches(100));
    let context = builder
        .get_or_create(move |ssc| {
            let words = of.stream(ssc, "broker").map(|word| format!("<{word}>"));
            let _kept_nowhere = words.datasets("words");
            words.for_each_batch("out", |_, _: Vec<String>| {});
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    for n in 0..4 {
        broker.push("p", format!("{n}"));
        broker.push("q", format!("{n}q"));
        context.run_batch().unwrap();
    }
    let words = context.datasets::<String>("words").unwrap();
    for n in 0..4 {
        let found = words.batch(n + 1).unwrap().collect().unwrap();
        assert_eq!(found, [format!("<{n}>"), format!("<{n}q>")]);
    }
    broker.forget("p", 1);
    let gone = words.batch(1).unwrap().collect().unwrap_err().to_string();
    assert!(gone.contains("p from offset 0 to 1"), "{gone}");
}

/// What a source wants, and what is said of it.
type Wanted = (&'static [(&'static str, u64, u64)], &'static str);

#[test]
fn a_source_that_contradicts_itself_has_no_part_in_the_batch() {
    let (disk, broker) = (SimDisk::new(), Arc::new(Broker::default()));
    let (context, seen) = open(builder(&disk, 1), &broker).unwrap();
    (0..4).for_each(|n| broker.push("p", format!("p{n}")));
    context.run_batch().unwrap();
    broker.push("p", "p4");
    let wrong: [Wanted; 5] = [
        (&[("p", 3, 5)], "again"),
        (&[("p", 5, 6)], "a gap"),
        (&[("p", 4, 3)], "backwards"),
        (&[("p", 4, 5), ("p", 4, 5)], "twice"),
        (&[("q", 0, u64::MAX)], "too many"),
    ];
    for (n, (wants, why)) in wrong.iter().enumerate() {
        *broker.trouble.wants.lock() = Some(wants.to_vec());
        send(&context, "line");
        let batch = context.run_batch().unwrap();
        assert_eq!(seen.lock()[&batch.id], ["line"], "{why}");
        assert_eq!(errors(&context), n as u64 + 1, "{why}");
    }
    *broker.trouble.wants.lock() = None;
    broker.trouble.deaf.store(true, Ordering::SeqCst);
    let batch = context.run_batch().unwrap();
    assert!(seen.lock()[&batch.id].is_empty());
    broker.trouble.deaf.store(false, Ordering::SeqCst);
    let batch = context.run_batch().unwrap();
    assert_eq!(seen.lock()[&batch.id], ["p4"], "nothing was lost meanwhile");
    // A record with an offset that its batch does not have is no record of the batch.
    broker.push("p", "p5");
    broker.trouble.shifts.store(1, Ordering::SeqCst);
    let error = context.run_batch().unwrap_err().to_string();
    assert!(error.contains("has given offset 6 of p"), "{error}");
}

/// A cut is one record of the log. What does not fit it comes in the next batch. (A directory of
/// many files made the cut fail.)
#[test]
fn ranges_that_do_not_fit_a_cut_are_left_to_the_next_batch() {
    let (disk, broker) = (SimDisk::new(), Arc::new(Broker::default()));
    let (context, seen) = open(builder(&disk, 2), &broker).unwrap();
    let partition = |n| format!("{n:03} {}", "with a long name".repeat(9));
    (0..100).for_each(|n| broker.push(&partition(n), format!("{n}")));
    let mut batches = 0;
    while seen.lock().values().flatten().count() < 100 {
        context.run_batch().unwrap();
        batches += 1;
    }
    assert!((3..40).contains(&batches), "{batches}");
    let found: Vec<String> = seen.lock().values().flatten().cloned().collect();
    assert_eq!(found, (0..100).map(|n| format!("{n}")).collect::<Vec<_>>());
    *broker.trouble.wants.lock() = Some(vec![(TOO_LONG, 0, 1)]);
    context.run_batch().unwrap();
    assert_eq!(errors(&context), 1);
}

const TOO_LONG: &str = match std::str::from_utf8(&[b'x'; 8 << 10]) {
    Ok(name) => name,
    Err(_) => "",
};

fn by_clock(disk: &SimDisk, clock: &Arc<ManualClock>) -> Builder {
    let clock: Arc<ManualClock> = Arc::clone(clock);
    builder(disk, 2).clock(clock).batches(BatchMode::Clock)
}

fn until(clock: &ManualClock, so: impl FnMut() -> bool) {
    move_until(clock, Duration::from_millis(20), so);
}

#[test]
fn a_batch_waits_for_a_source_that_is_down_and_the_context_lives() {
    let (disk, broker) = (SimDisk::new(), Arc::new(Broker::default()));
    let clock = Arc::new(ManualClock::new(1_700_000_000_500));
    let (context, seen) = open(by_clock(&disk, &clock), &broker).unwrap();
    broker.trouble.down.store(true, Ordering::SeqCst);
    broker.push("p", "p0");
    let failed = || context.failed_attempt();
    until(&clock, || failed().is_some_and(|failed| failed.attempt > 6));
    let failed = failed().unwrap();
    assert!(failed.waits_for_source);
    assert!(failed.message.contains("the broker is down"), "{failed}");
    // What it has meanwhile stays there: one batch waits, not many.
    broker.push("p", "p1");
    broker.push("p", "p2");
    broker.trouble.down.store(false, Ordering::SeqCst);
    until(&clock, || seen.lock().values().flatten().count() == 3);
    assert_eq!(context.context_state(), ContextState::Active);
    assert!(context.failed_attempt().is_none());
    // A stop does not wait for it, and the next start reads what this one could not.
    broker.trouble.down.store(true, Ordering::SeqCst);
    broker.push("p", "p3");
    let failed = || context.failed_attempt().is_some();
    until(&clock, failed);
    let stopped = context.stop(StopMode::Graceful).unwrap_err().to_string();
    assert!(stopped.contains("the broker is down"), "{stopped}");
    drop(context);
    broker.trouble.down.store(false, Ordering::SeqCst);
    let (context, seen) = open(by_clock(&disk, &clock), &broker).unwrap();
    until(&clock, || !seen.lock().is_empty());
    assert_eq!(*seen.lock().values().next().unwrap(), ["p3"]);
    context.stop(StopMode::Graceful).unwrap();
}

/// By hand nothing waits: the batch fails as any other. So it does if what its cut
/// names is gone; the error says what, and nothing is skipped.
#[test]
fn records_that_are_gone_stop_the_context_and_are_named() {
    let (disk, broker) = (SimDisk::new(), Arc::new(Broker::default()));
    let (context, _) = open(builder(&disk, 1), &broker).unwrap();
    broker.trouble.down.store(true, Ordering::SeqCst);
    (0..3).for_each(|n| broker.push("p", format!("p{n}")));
    let error = context.run_batch().unwrap_err().to_string();
    assert!(
        error.contains("not available: the broker is down"),
        "{error}"
    );
    assert_eq!(broker.reads.load(Ordering::SeqCst), 3, "three attempts");
    drop(context);
    broker.trouble.down.store(false, Ordering::SeqCst);
    broker.forget("p", 2);
    for _ in 0..2 {
        let error = open(builder(&disk, 1), &broker).unwrap_err().to_string();
        let says = |what: &str| assert!(error.contains(what), "{error}");
        says("broker \"broker\"");
        says("p from offset 0 to 3");
        says("it begins at offset 2");
    }
}

/// A backlog at the source is read batch after batch, not one in each interval; windows and batch
/// times see the parts of one tick.
#[test]
fn a_backlog_at_the_source_does_not_wait_for_ticks() {
    let (disk, clock) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_500)),
    );
    let broker = Arc::new(Broker::at_once(10));
    (0..95).for_each(|n| broker.push("p", format!("{n}")));
    let times = Arc::<Mutex<BTreeMap<u64, u64>>>::default();
    let (of, seen) = (Arc::clone(&broker), Arc::clone(&times));
    let context = by_clock(&disk, &clock).get_or_create(move |ssc| {
        let words = of.stream(ssc, "broker");
        words.for_each_batch("out", move |batch, records: Vec<String>| {
            assert!(records.len() <= 10);
            *seen.lock().entry(batch.time_ms).or_default() += records.len() as u64;
        });
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    until(&clock, || !times.lock().is_empty());
    // The clock stands from here on: nothing but the backlog makes batches.
    while times.lock().values().sum::<u64>() < 95 {
        std::thread::yield_now();
    }
    let with_records = times
        .lock()
        .values()
        .filter(|records| **records > 0)
        .count();
    assert!(with_records <= 3, "parts of one tick: {times:?}");
    broker.push("p", "one more");
    until(&clock, || times.lock().values().sum::<u64>() == 96);
    context.stop(StopMode::Graceful).unwrap();
}

/// A rate bounds what a batch takes, tick by tick: a backlog at the source does not pass it by.
#[test]
fn a_rate_bounds_what_a_batch_has_of_a_source() {
    let (disk, clock) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_500)),
    );
    let broker = Arc::new(Broker::default());
    (0..95).for_each(|n| broker.push("p", format!("{n}")));
    let counts = Arc::<Mutex<BTreeMap<u64, usize>>>::default();
    let (of, seen) = (Arc::clone(&broker), Arc::clone(&counts));
    let context = by_clock(&disk, &clock).get_or_create(move |ssc| {
        let words = of.stream(ssc, "broker").max_rate(10);
        words.for_each_batch("out", move |batch, records: Vec<String>| {
            *seen.lock().entry(batch.time_ms).or_default() += records.len();
        });
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    until(&clock, || counts.lock().values().sum::<usize>() == 95);
    let most = counts.lock().values().max().copied();
    assert_eq!(most, Some(10), "{counts:?}");
    context.stop(StopMode::Graceful).unwrap();
}

fn nothing(stream: &DStream<String>, name: &str) {
    stream.for_each_batch(name, |_, _: Vec<String>| {});
}

/// The positions of a source that is gone, or is another one now, would be lost without a word,
/// and its data read twice.
#[test]
fn positions_are_not_lost_by_a_change_of_the_program() {
    let (disk, broker) = (SimDisk::new(), Arc::new(Broker::default()));
    broker.trouble.keeps.store(true, Ordering::SeqCst);
    let (context, _) = open(builder(&disk, 1), &broker).unwrap();
    broker.push("p", "p0");
    context.run_batch().unwrap();
    drop(context);
    // Without a checkpoint, and with one.
    for _ in 0..2 {
        let input = |builder: Builder, name: &str| {
            let name = name.to_owned();
            let opened = builder.get_or_create(move |ssc| {
                nothing(&ssc.input::<String>("lines"), "a");
                nothing(&ssc.input::<String>(&name), "b");
                Ok(())
            });
            opened.map(drop).unwrap_err()
        };
        let gone = input(builder(&disk, 1), "other");
        assert!(
            matches!(gone, Error::Mismatch(Mismatch::SourceGone { .. })),
            "{gone}"
        );
        let other = input(builder(&disk, 1), "broker");
        assert!(
            matches!(other, Error::Mismatch(Mismatch::OtherSource { .. })),
            "{other}"
        );
        let (context, _) = open(builder(&disk, 1), &broker).unwrap();
        context.stop(StopMode::Graceful).unwrap();
    }
    // One that is dropped is read from the beginning when it comes back.
    let dropped = builder(&disk, 1)
        .drop_source("broker")
        .get_or_create(|ssc| {
            nothing(&ssc.input::<String>("lines"), "a");
            Ok(())
        });
    let dropped = dropped.unwrap();
    dropped.start().unwrap();
    dropped.run_batch().unwrap();
    drop(dropped);
    let (context, seen) = open(builder(&disk, 1).drop_source("broker"), &broker).unwrap();
    context.run_batch().unwrap();
    let seen: Vec<String> = seen.lock().values().flatten().cloned().collect();
    assert_eq!(seen, ["p0"]);
}
