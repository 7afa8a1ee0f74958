//! Results of past batches: cached, in a checkpoint, or computed again, always the same; and how
//! often each way evaluates the program.
#![allow(clippy::cast_possible_truncation, reason = "test code")]

use crate::common::builder;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    Batch, Builder, CheckpointPolicy, DStream, DatasetLineage, Datasets, Error, Result, StopMode,
    StreamScope, StreamingContext, UpdateSpec,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often a closure has run.
type Evaluations = Arc<AtomicU64>;

fn evaluations(evaluations: &Evaluations) -> u64 {
    evaluations.swap(0, Ordering::Relaxed)
}

/// Squares, each evaluation counted.
fn squares(ssc: &StreamScope, evaluations: &Evaluations) -> DStream<u64> {
    let evaluations = Arc::clone(evaluations);
    ssc.input::<u64>("in").map(move |n| {
        evaluations.fetch_add(1, Ordering::Relaxed);
        n * n
    })
}

fn context(builder: Builder, program: impl Fn(&StreamScope)) -> Result<StreamingContext> {
    let context = builder.get_or_create(|ssc| {
        program(ssc);
        Ok(())
    })?;
    context.start()?;
    Ok(context)
}

fn run(context: &StreamingContext, numbers: &[u64]) {
    let input = context.input::<u64>("in").unwrap();
    for frame in numbers.chunks(300) {
        input.send_all(frame).unwrap().wait().unwrap();
    }
    context.run_batch().unwrap();
}

fn stop(context: StreamingContext) {
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
}

fn lineage<T: highwater_engine::Value>(datasets: &Datasets<T>, batch: u64) -> String {
    datasets
        .batch(batch)
        .unwrap()
        .lineage()
        .unwrap()
        .to_string()
}

#[test]
fn what_is_cached_is_not_computed_again_and_what_was_evicted_is() {
    let (disk, count) = (SimDisk::new(), Evaluations::default());
    let room_for_two = 2 * (128 + 4);
    let program = |ssc: &StreamScope| {
        squares(ssc, &count)
            .datasets("squares")
            .persist(room_for_two);
    };
    let context = context(builder(&disk, 2), program).unwrap();
    for n in 1..=3 {
        run(&context, &[n, n + 1, n + 2]);
    }
    assert_eq!(evaluations(&count), 9, "each record once");
    let squares = context.datasets::<u64>("squares").unwrap();
    assert_eq!(lineage(&squares, 3), "cached");
    assert_eq!(squares.batch(2).unwrap().collect().unwrap(), [4, 9, 16]);
    assert_eq!(squares.batch(3).unwrap().collect().unwrap(), [9, 16, 25]);
    assert_eq!(evaluations(&count), 0);
    let evicted = squares.batch(1).unwrap();
    assert!(matches!(
        evicted.lineage().unwrap(),
        DatasetLineage::Recomputed {
            checkpoint: None,
            batches: 1,
            ..
        }
    ));
    assert_eq!(evicted.collect().unwrap(), [1, 4, 9]);
    assert_eq!(evaluations(&count), 3);
}

/// Nothing is computed before it is asked for; then every batch from the checkpoint on runs, but
/// only the last one's records are wanted.
#[test]
fn without_persist_a_result_is_computed_when_it_is_asked_for() {
    let (disk, count) = (SimDisk::new(), Evaluations::default());
    let program = |ssc: &StreamScope| {
        squares(ssc, &count).datasets("squares");
    };
    let context = context(builder(&disk, 2), program).unwrap();
    for n in 1..=5 {
        run(&context, &[n, n]);
    }
    assert_eq!(evaluations(&count), 0);
    let squares = context.datasets::<u64>("squares").unwrap();
    let fifth = squares.batch(5).unwrap();
    let lineage = fifth.lineage().unwrap().to_string();
    assert!(
        lineage.starts_with("recomputed from checkpoint 1 (batch 3) over 2 batches, "),
        "{lineage}"
    );
    assert_eq!(fifth.collect().unwrap(), [25, 25]);
    assert_eq!(evaluations(&count), 2);
    assert_eq!(fifth.collect().unwrap(), [25, 25]);
    assert_eq!(evaluations(&count), 2, "it was not kept");
}

/// The state had been handed to the batches of today, and was missing from those that were computed
/// again from the beginning of the log.
#[test]
fn a_past_batch_begins_with_the_initial_state() {
    let context = context(builder(&SimDisk::new(), 2), |ssc| {
        let spec = UpdateSpec::new(|_: &Batch, _: &u64, new: &[u64], sum: &mut Option<u64>| {
            *sum = Some(sum.unwrap_or(0) + new.iter().sum::<u64>());
        });
        let pairs = ssc.input::<u64>("in").map(|n| (n, n));
        let sums = pairs.update_state_by_key_spec("sums", spec.initial_state([(7, 100)]));
        sums.datasets("past");
    });
    let context = context.unwrap();
    run(&context, &[7]);
    run(&context, &[]);
    let sums = context.datasets::<(u64, u64)>("past").unwrap();
    for _ in 0..2 {
        for batch in 1..=2 {
            assert_eq!(sums.batch(batch).unwrap().collect().unwrap(), [(7, 107)]);
        }
    }
}

/// A checkpoint cuts lineage, also after a restart; `persist` does not.
#[test]
fn what_is_checkpointed_is_there_after_a_restart_and_what_is_cached_is_not() {
    let (disk, count) = (SimDisk::new(), Evaluations::default());
    let kept = |ssc: &StreamScope| {
        let squares = squares(ssc, &count);
        let every_batch = Duration::from_secs(1);
        squares.datasets("checkpointed").checkpoint(every_batch, 2);
        squares.datasets("cached").persist(1 << 20);
    };
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let open = |workers| {
        let shared: Arc<ManualClock> = Arc::clone(&clock);
        let builder = builder(&disk, workers).clock(shared);
        let builder = builder.checkpoint(CheckpointPolicy::every_batches(2));
        context(builder.retain_checkpoints(3), kept).unwrap()
    };
    let first = open(1);
    for n in 1..=4 {
        clock.advance(Duration::from_secs(1));
        run(&first, &[n]);
    }
    let checkpointed = first.datasets::<u64>("checkpointed").unwrap();
    assert_eq!(lineage(&checkpointed, 4), "checkpointed in 2");
    drop(first);
    evaluations(&count);
    let second = open(3);
    let checkpointed = second.datasets::<u64>("checkpointed").unwrap();
    let cached = second.datasets::<u64>("cached").unwrap();
    for (batch, square) in [(4, 16), (3, 9)] {
        assert_eq!(lineage(&checkpointed, batch), "checkpointed in 2");
        let result = checkpointed.batch(batch).unwrap().collect().unwrap();
        assert_eq!(result, [square]);
    }
    assert_eq!(evaluations(&count), 0);
    let from_checkpoint_1 = lineage(&cached, 4);
    assert!(
        from_checkpoint_1.starts_with("recomputed from checkpoint 1 (batch 2) over 2 batches"),
        "{from_checkpoint_1}"
    );
    assert_eq!(cached.batch(4).unwrap().collect().unwrap(), [16]);
    assert_eq!(evaluations(&count), 1, "of the wanted batch only");
    // Batches go on, and a batch is of the right time.
    run(&second, &[5]);
    assert_eq!(lineage(&cached, 5), "cached");
}

#[test]
fn results_go_into_checkpoints_by_batch_time_and_the_newest_are_kept() {
    let disk = SimDisk::new();
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let shared: Arc<ManualClock> = Arc::clone(&clock);
    let builder = builder(&disk, 1)
        .clock(shared)
        .checkpoint(CheckpointPolicy::every_batches(1));
    let program = |ssc: &StreamScope| {
        let numbers = ssc.input::<u64>("in");
        let datasets = numbers.datasets("numbers");
        datasets.checkpoint(Duration::from_secs(5), 2);
    };
    let context = context(builder, program).unwrap();
    for n in 1..=14 {
        clock.advance(Duration::from_secs(1));
        run(&context, &[n]);
    }
    // Batch n has second n: those of seconds 1, 5 and 10 are the first of their five.
    let numbers = context.datasets::<u64>("numbers").unwrap();
    let kept: Vec<u64> = (1..=14)
        .filter(|batch| match numbers.batch(*batch).unwrap().lineage() {
            Ok(lineage) => matches!(lineage, DatasetLineage::Checkpointed { .. }),
            Err(_) => false,
        })
        .collect();
    assert_eq!(kept, [5, 10]);
}

/// Spark's call, which says how often.
#[test]
fn a_checkpointed_stream_keeps_its_newest_result() {
    let (disk, clock) = (SimDisk::new(), Arc::new(ManualClock::new(10_000)));
    let interval = |seconds| {
        let shared: Arc<ManualClock> = Arc::clone(&clock);
        let builder = builder(&disk, 1).clock(shared);
        let builder = builder.checkpoint(CheckpointPolicy::every_batches(1));
        context(builder, move |ssc| {
            let numbers = ssc.input::<u64>("in");
            let numbers = numbers.checkpoint(Duration::from_secs_f64(seconds));
            numbers.datasets("numbers");
        })
    };
    let refused = interval(1.5).unwrap_err().to_string();
    assert!(
        refused.contains("checkpoint at")
            && refused.contains("1500 ms")
            && refused.contains("1000 ms"),
        "{refused}"
    );
    let context = interval(3.0).unwrap();
    for n in 1..=5 {
        clock.advance(Duration::from_secs(1));
        run(&context, &[n]);
    }
    // Batch n has second 10 + n: a new three seconds begin with 12.
    let numbers = context.datasets::<u64>("numbers").unwrap();
    let kept: Vec<u64> = (1..=5)
        .filter(|batch| match numbers.batch(*batch).unwrap().lineage() {
            Ok(lineage) => matches!(lineage, DatasetLineage::Checkpointed { .. }),
            Err(_) => false,
        })
        .collect();
    assert_eq!(kept, [5]);
}

#[test]
fn a_result_that_is_asked_for_goes_into_the_next_checkpoint_and_stays() {
    let (disk, count) = (SimDisk::new(), Evaluations::default());
    let program = |ssc: &StreamScope| {
        squares(ssc, &count).datasets("squares");
    };
    let open = || {
        let builder = builder(&disk, 2).checkpoint(CheckpointPolicy::every_batches(1));
        context(builder, program).unwrap()
    };
    let first = open();
    run(&first, &[3]);
    let squares = first.datasets::<u64>("squares").unwrap();
    squares.batch(1).unwrap().checkpoint().unwrap();
    assert_eq!(evaluations(&count), 1);
    assert_eq!(lineage(&squares, 1), "cached", "until the next checkpoint");
    let more_than_a_segment: Vec<u64> = (0..4000).collect();
    for _ in 0..6 {
        run(&first, &more_than_a_segment);
    }
    assert_eq!(lineage(&squares, 1), "checkpointed in 7");
    stop(first);
    let second = open();
    let squares = second.datasets::<u64>("squares").unwrap();
    let past = squares.batch(1).unwrap();
    assert_eq!(past.collect().unwrap(), [9]);
    assert_eq!(evaluations(&count), 0);
    past.release();
    let error = past.collect().unwrap_err().to_string();
    for setting in [".retain_checkpoints(..)", ".checkpoint(interval, keep)"] {
        assert!(error.contains(setting), "{error}");
    }
    stop(second);
    let third = open();
    let squares = third.datasets::<u64>("squares").unwrap();
    assert!(matches!(
        squares.batch(1).unwrap().collect(),
        Err(Error::Dataset { batch: 1, .. })
    ));
}

/// The records of each batch: key, visits, total.
type Seen = Arc<Mutex<BTreeMap<u64, Vec<(u64, u64, u64)>>>>;

/// A program of everything that a replay must bring along: states, a counter, a broadcast value.
fn rich(ssc: &StreamScope, seen: &Seen) {
    let numbers = ssc.input::<u64>("in");
    let all = ssc.counter("all");
    let newest = ssc.broadcast("newest", &numbers);
    let results = numbers
        .map(move |n| {
            all.add(1);
            let newest = newest.get().map_or(0, |n| *n);
            (n % 7, n + newest * 1000 + all.value() * 1_000_000)
        })
        .update_state_by_key("sums", |_, new: &[u64], sum: &mut Option<(u64, u64)>| {
            let (count, total) = sum.unwrap_or((0, 0));
            *sum = Some((count + 1, total + new.iter().sum::<u64>()));
        })
        .map(|(key, (visits, total))| (key, visits, total));
    results.datasets("results");
    let seen = Arc::clone(seen);
    results.for_each_batch("out", move |batch, records| {
        seen.lock().insert(batch.id, records);
    });
}

/// What is computed again equals what the batch gave, record by record, in order: from every
/// checkpoint, with another number of workers, small chunks, and while batches go on.
#[test]
fn a_result_that_is_computed_again_equals_what_the_batch_gave() {
    let disk = SimDisk::new();
    let seen = Seen::default();
    let mut batch = 0;
    for workers in [1, 3, 2] {
        let builder = builder(&disk, workers)
            .chunk_bytes(64)
            .retain_checkpoints(3)
            .checkpoint(CheckpointPolicy::every_batches(2));
        let context = context(builder, |ssc| rich(ssc, &seen)).unwrap();
        let results = context.datasets::<(u64, u64, u64)>("results").unwrap();
        for _ in 0..5 {
            batch += 1;
            run(&context, &(batch..batch * 2).collect::<Vec<_>>());
            let (all, counter) = (context.progress().last_batch.unwrap(), context.counters());
            let mut computed = 0;
            for past in 1..=all {
                match results.batch(past).unwrap().collect() {
                    Ok(records) => assert_eq!(records, seen.lock()[&past], "batch {past} of {all}"),
                    Err(Error::Dataset { .. }) => {
                        assert_eq!(computed, 0, "no hole");
                        continue;
                    }
                    Err(other) => panic!("{other}"),
                }
                computed += 1;
            }
            assert!(computed >= all.min(4), "{computed} of {all}");
            assert_eq!(
                context.counters(),
                counter,
                "the batches of today saw nothing"
            );
        }
    }
}

/// Checkpoints are retired and the log is truncated while past batches are computed from them.
#[test]
fn past_batches_are_computed_while_batches_go_on() {
    let (disk, seen) = (SimDisk::new(), Seen::default());
    let builder = builder(&disk, 2).checkpoint(CheckpointPolicy::every_batches(1));
    let context = context(builder, |ssc| rich(ssc, &seen)).unwrap();
    let results = context.datasets::<(u64, u64, u64)>("results").unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let (stop, expected) = (Arc::clone(&over), Arc::clone(&seen));
    let asking = std::thread::spawn(move || {
        let (mut computed, mut gone) = (0, 0);
        while !stop.load(Ordering::Relaxed) || computed == 0 {
            let last = expected.lock().keys().next_back().copied().unwrap_or(0);
            for batch in (1..=last.saturating_sub(1)).rev().take(3) {
                match results.batch(batch).and_then(|past| past.collect()) {
                    Ok(found) => {
                        assert_eq!(found, expected.lock()[&batch], "batch {batch}");
                        computed += 1;
                    }
                    Err(Error::Dataset { .. }) => gone += 1,
                    Err(other) => panic!("{other}"),
                }
            }
        }
        (computed, gone)
    });
    for batch in 1..=60 {
        run(&context, &(0..batch * 20).collect::<Vec<_>>());
    }
    over.store(true, Ordering::Relaxed);
    let (computed, _) = asking.join().unwrap();
    assert!(computed > 0);
    assert_eq!(context.counter("all"), Some((1..=60).map(|n| n * 20).sum()));
}

#[test]
fn slices_are_inclusive_and_only_of_finished_batches() {
    let disk = SimDisk::new();
    let clock = Arc::new(ManualClock::new(10_000));
    let shared: Arc<ManualClock> = Arc::clone(&clock);
    let program = |ssc: &StreamScope| {
        let numbers = ssc.input::<u64>("in");
        numbers.datasets("numbers").persist(300);
    };
    let context = context(builder(&disk, 1).clock(shared), program).unwrap();
    let numbers = context.datasets::<u64>("numbers").unwrap();
    assert!(matches!(numbers.batch(1), Err(Error::Dataset { .. })));
    for n in 1..=5 {
        clock.advance(Duration::from_secs(1));
        run(&context, &[n]);
    }
    let ids = |from, to| -> Vec<u64> {
        let slice = numbers.slice(from, to).unwrap();
        slice.iter().map(|dataset| dataset.batch_id()).collect()
    };
    assert_eq!(ids(12_000, 14_000), [2, 3, 4]);
    assert_eq!(ids(11_500, 12_999), [2]);
    assert_eq!(ids(0, u64::MAX), [1, 2, 3, 4, 5]);
    assert_eq!(ids(14_000, 12_000), [0; 0]);
    let at = numbers.at(13_000).unwrap();
    assert_eq!(at.len(), 1);
    assert_eq!(at[0].collect().unwrap(), [3]);
    let error = numbers.batch(6).unwrap_err().to_string();
    assert!(error.contains("1 to 5"), "{error}");
}

/// A program whose dataset is gone starts; one whose type is another is refused as for a state.
#[test]
fn results_of_a_name_that_is_gone_are_left_out() {
    let disk = SimDisk::new();
    let with = |ssc: &StreamScope| {
        let numbers = ssc.input::<u64>("in");
        let datasets = numbers.datasets("numbers");
        datasets.checkpoint(Duration::from_secs(1), 3);
    };
    let first = context(builder(&disk, 1), with).unwrap();
    run(&first, &[7]);
    stop(first);
    let other_type = |ssc: &StreamScope| {
        let texts = ssc.input::<u64>("in").map(|n| n.to_string());
        let datasets = texts.datasets("numbers");
        datasets.checkpoint(Duration::from_secs(1), 3);
    };
    let refused = context(builder(&disk, 1), other_type).unwrap_err();
    assert!(refused.to_string().contains("drop_state"), "{refused}");
    let converted = builder(&disk, 1).migrate_state::<Vec<u64>, Vec<String>>("numbers", |old| {
        old.iter().map(u64::to_string).collect()
    });
    let converted = context(converted, other_type).unwrap();
    let texts = converted.datasets::<String>("numbers").unwrap();
    assert_eq!(texts.batch(1).unwrap().collect().unwrap(), ["7"]);
    let wrong = converted
        .datasets::<u64>("numbers")
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("not u64"), "{wrong}");
    let none = converted.datasets::<u64>("none").unwrap_err().to_string();
    assert!(none.contains("it has: numbers"), "{none}");
    stop(converted);
    let without = |ssc: &StreamScope| ssc.input::<u64>("in").for_each_batch("out", |_, _| ());
    context(builder(&disk, 1), without).unwrap();
}

/// Records between an older checkpoint and the newest one were read as if the newest knew them: a
/// conversion that they need was not applied.
#[test]
fn a_replay_from_an_older_checkpoint_converts_the_records_of_its_time() {
    let disk = SimDisk::new();
    let small = |ssc: &StreamScope| {
        ssc.input::<u32>("in").map(u64::from).datasets("numbers");
    };
    let settings = || {
        builder(&disk, 1)
            .retain_checkpoints(4)
            .checkpoint(CheckpointPolicy::every_batches(1))
    };
    let first = context(settings(), small).unwrap();
    for n in [7_u32, 8] {
        let input = first.input::<u32>("in").unwrap();
        input.send(&n).unwrap().wait().unwrap();
        first.run_batch().unwrap();
    }
    drop(first);
    let converted = || {
        let builder = settings().migrate_input::<u32, u64>("in", |n| u64::from(n) * 100);
        let program = |ssc: &StreamScope| {
            ssc.input::<u64>("in").datasets("numbers");
        };
        context(builder, program).unwrap()
    };
    let second = converted();
    run(&second, &[900]);
    drop(second);
    let third = converted();
    let numbers = third.datasets::<u64>("numbers").unwrap();
    for (batch, expected) in [(2, 800), (3, 900)] {
        let found = numbers.batch(batch).unwrap().collect().unwrap();
        assert_eq!(found, [expected], "batch {batch}");
    }
}

/// A context that waited for itself would wait for ever.
#[test]
fn a_batch_does_not_ask_for_what_it_would_wait_for() {
    let disk = SimDisk::new();
    let handle: Arc<Mutex<Option<Datasets<u64>>>> = Arc::default();
    let program = |ssc: &StreamScope| {
        let numbers = ssc.input::<u64>("in");
        *handle.lock() = Some(numbers.datasets("numbers"));
        let handle = Arc::clone(&handle);
        numbers.for_each_batch("out", move |batch, _| {
            let datasets = handle.lock().clone().unwrap();
            if batch.id > 1 {
                let asked = datasets.batch(1).and_then(|first| first.collect());
                assert!(matches!(asked, Err(Error::LifeCycle(_))), "{asked:?}");
            }
        });
    };
    let context = context(builder(&disk, 1), program).unwrap();
    run(&context, &[1]);
    run(&context, &[2]);
    let datasets = handle.lock().clone().unwrap();
    assert_eq!(datasets.batch(1).unwrap().collect().unwrap(), [1]);
    drop(context);
    let gone = datasets.batch(1).unwrap().collect();
    assert!(matches!(gone, Err(Error::Stopped)), "{gone:?}");
}
