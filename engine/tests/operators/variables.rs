//! Counters and broadcast values: exactly once, at the borders of batches, the same for any number
//! of workers and after any end of a run.

use crate::common::builder;
use crate::common::table::{AnyOrder, ByKey, Table, records};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{
    Builder, CheckpointPolicy, Error, Mismatch, Result, StopMode, StreamScope, StreamingContext,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn context(builder: Builder, program: impl Fn(&StreamScope)) -> Result<StreamingContext> {
    let context = builder.get_or_create(|ssc| {
        program(ssc);
        Ok(())
    })?;
    context.start()?;
    Ok(context)
}

fn run(context: &StreamingContext, numbers: &[u64]) -> Result<()> {
    let input = context.input::<u64>("in")?;
    input.send_all(numbers)?.wait()?;
    context.run_batch().map(drop)
}

fn stop(context: StreamingContext) {
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
}

/// Numbers that are counted, each by itself.
fn counting(ssc: &StreamScope) {
    let sum = ssc.counter("sum");
    let counted = ssc.input::<u64>("in").map(move |n| {
        sum.add(n);
        n
    });
    counted.for_each_batch("out", |_, numbers| {
        assert!(!numbers.contains(&99), "on purpose");
    });
}

#[test]
fn a_batch_sees_what_was_counted_before_it() {
    let program = |ssc: &StreamScope| {
        let (sum, all) = (ssc.counter("sum"), ssc.counter("all"));
        let numbers = ssc.input::<u64>("in");
        AnyOrder(numbers.map(move |n| {
            sum.add(n);
            all.add(1);
            (n, sum.value(), all.value())
        }))
    };
    Table::new(program)
        .batch(
            [records::<u64>("in", [1_u64, 2, 3])],
            vec![(1, 0, 0), (2, 0, 0), (3, 0, 0)],
        )
        .batch([], vec![])
        .batch(
            [records::<u64>("in", [10_u64, 20])],
            vec![(10, 6, 3), (20, 6, 3)],
        )
        .batch([records::<u64>("in", [5_u64])], vec![(5, 36, 5)])
        .check();
}

/// State functions and functions of whole batches count on the workers that own the keys.
#[test]
fn operators_after_an_exchange_count_as_well() {
    let program = |ssc: &StreamScope| {
        let (visits, batches) = (ssc.counter("visits"), ssc.counter("batches"));
        let numbers = ssc.input::<u64>("in");
        let seen = visits.clone();
        let states = numbers.map(|n| (n % 5, n)).update_state_by_key(
            "states",
            move |_, new: &[u64], sum: &mut Option<u64>| {
                visits.add(1);
                *sum = Some(sum.unwrap_or(0) + new.iter().sum::<u64>());
            },
        );
        let counts = numbers.transform(move |numbers, _| {
            batches.add(1);
            vec![(numbers.len(), seen.value(), batches.value())]
        });
        (ByKey(states), counts)
    };
    Table::new(program)
        .batch(
            [records::<u64>("in", [1_u64, 2, 3, 6])],
            (vec![(1, 7), (2, 2), (3, 3)], vec![(4, 0, 0)]),
        )
        .batch([], (vec![(1, 7), (2, 2), (3, 3)], vec![(0, 3, 1)]))
        .batch(
            [records::<u64>("in", [4_u64])],
            (vec![(1, 7), (2, 2), (3, 3), (4, 4)], vec![(1, 6, 2)]),
        )
        .batch([], (vec![(1, 7), (2, 2), (3, 3), (4, 4)], vec![(0, 10, 3)]))
        .check();
}

#[test]
fn every_closure_sees_the_last_record_of_an_earlier_batch() {
    let program = |ssc: &StreamScope| {
        let newest = ssc.broadcast("rate", ssc.input::<u64>("rates"));
        let again = newest.clone();
        let numbers = ssc.input::<u64>("in");
        let early = numbers.map(move |n| (n, newest.get().map(|rate| n * *rate)));
        let sums = numbers.map(|n| (n % 2, n)).reduce_by_key(|a, b| a + b);
        let late = sums.map_values(move |n| (n, again.get().map(|rate| *rate)));
        (early, ByKey(late))
    };
    Table::new(program)
        .batch(
            [
                records::<u64>("in", [1_u64]),
                records::<u64>("rates", [5_u64, 7]),
                records::<u64>("in", [3_u64]),
            ],
            (vec![(1, None), (3, None)], vec![(1, (4, None))]),
        )
        .batch([], (vec![], vec![]))
        .batch(
            [
                records::<u64>("rates", [9_u64]),
                records::<u64>("in", [1_u64, 2]),
            ],
            (
                vec![(1, Some(7)), (2, Some(14))],
                vec![(1, (1, Some(7))), (0, (2, Some(7)))],
            ),
        )
        .batch(
            [records::<u64>("in", [4_u64])],
            (vec![(4, Some(36))], vec![(0, (4, Some(9)))]),
        )
        .check();
}

/// The last record of a batch is that of the log, not that of the fastest worker; what a keyed
/// operator makes of the whole batch comes after it.
#[test]
fn the_newest_value_of_a_union_is_the_last_one_in_its_order() {
    let program = |ssc: &StreamScope| {
        let (a, b) = (ssc.input::<u64>("a"), ssc.input::<u64>("b"));
        let total = a.map(|n| ((), n)).reduce_by_key(|a, b| a + b);
        let both = a.union(&b);
        let both = ssc.broadcast("both", &both);
        let with_total = ssc.broadcast("total", a.union(&total.map(|(_, n)| n)));
        ssc.input::<u64>("in")
            .map(move |_| (both.get().map(|n| *n), with_total.get().map(|n| *n)))
    };
    Table::new(program)
        .batch(
            [
                records::<u64>("a", (1..40_u64).collect::<Vec<_>>()),
                records::<u64>("b", [7_u64]),
            ],
            vec![],
        )
        .batch(
            [
                records::<u64>("in", [0_u64]),
                records::<u64>("b", [8_u64]),
                records::<u64>("a", [9_u64]),
            ],
            vec![(Some(7), Some(780))],
        )
        .batch([], vec![])
        .batch([records::<u64>("in", [0_u64])], vec![(Some(9), Some(9))])
        .check();
}

#[test]
fn a_counter_is_that_of_the_last_finished_batch_before_and_after_a_restart() {
    let disk = SimDisk::new();
    let first = context(builder(&disk, 2), counting).unwrap();
    assert_eq!(first.counter("sum"), Some(0));
    assert_eq!(first.counter("none"), None);
    run(&first, &[1, 2]).unwrap();
    assert_eq!(first.counter("sum"), Some(3));
    run(&first, &[4]).unwrap();
    drop(first);
    // Nothing is checkpointed yet: the replay counts again, and counts once.
    let second = builder(&disk, 3)
        .checkpoint(CheckpointPolicy::every_batches(1))
        .get_or_create(|ssc| {
            counting(ssc);
            Ok(())
        })
        .unwrap();
    assert_eq!(second.counter("sum"), Some(0));
    second.start().unwrap();
    assert_eq!(second.counter("sum"), Some(7));
    run(&second, &[8]).unwrap();
    assert_eq!(second.counters(), [("sum".to_owned(), 15)]);
    drop(second);
    let third = builder(&disk, 1).get_or_create(|ssc| {
        counting(ssc);
        Ok(())
    });
    assert_eq!(third.unwrap().counter("sum"), Some(15), "before the start");
}

/// A failed batch has run its operators, so they have counted; it runs again at the next start.
#[test]
fn what_a_failed_batch_counted_is_discarded() {
    let disk = SimDisk::new();
    let fail = Arc::new(AtomicBool::new(false));
    let program = |fail: &Arc<AtomicBool>| {
        let fail = Arc::clone(fail);
        move |ssc: &StreamScope| {
            let (sum, fail) = (ssc.counter("sum"), Arc::clone(&fail));
            let counted = ssc.input::<u64>("in").map(move |n| {
                sum.add(n);
                n
            });
            counted.for_each_batch("out", move |_, _| {
                assert!(!fail.load(Ordering::Relaxed), "on purpose");
            });
        }
    };
    let first = context(builder(&disk, 2), program(&fail)).unwrap();
    run(&first, &[1]).unwrap();
    fail.store(true, Ordering::Relaxed);
    run(&first, &[2]).unwrap_err();
    assert_eq!(first.counter("sum"), Some(1));
    fail.store(false, Ordering::Relaxed);
    drop(first);
    let second = context(builder(&disk, 1), program(&fail)).unwrap();
    assert_eq!(second.counter("sum"), Some(3));
}

/// Each reader of a stream computes it; `persist` computes it once. A branch without an output runs
/// too, and its counts belong to its own batch.
#[test]
fn counts_follow_the_evaluations() {
    let disk = SimDisk::new();
    let program = |ssc: &StreamScope| {
        let numbers = ssc.input::<u64>("in");
        let counted = |name: &str| {
            let counter = ssc.counter(name);
            numbers.map(move |n| {
                counter.add(1);
                n
            })
        };
        let twice = counted("twice");
        twice.for_each_batch("a", |_, _| ());
        twice.for_each_batch("b", |_, _| ());
        let once = counted("once").persist();
        once.for_each_batch("c", |_, _| ());
        once.for_each_batch("d", |_, _| ());
        let _no_reader = counted("no reader").persist();
        let _never = counted("never");
    };
    let context = context(builder(&disk, 3).chunk_bytes(64), program).unwrap();
    for batch in 1..20 {
        run(&context, &[1, 2, 3, 4, 5]).unwrap();
        let counts: Vec<u64> = context.counters().into_iter().map(|(_, n)| n).collect();
        assert_eq!(counts, [10 * batch, 5 * batch, 5 * batch, 0]);
    }
}

#[test]
fn names_are_unique_and_renamed_and_dropped_as_states_are() {
    let disk = SimDisk::new();
    let two = builder(&disk, 1).get_or_create(|ssc| {
        ssc.counter("sum");
        counting(ssc);
        Ok(())
    });
    let error = two.unwrap_err().to_string();
    assert!(error.contains("\"sum\" is used twice"), "{error}");
    let first = context(builder(&disk, 1), counting).unwrap();
    run(&first, &[5]).unwrap();
    stop(first);
    let renamed = |ssc: &StreamScope| {
        let total = ssc.counter("total");
        let counted = ssc.input::<u64>("in").map(move |n| total.add(n));
        counted.for_each_batch("out", |_, _| ());
    };
    match context(builder(&disk, 1), renamed) {
        Err(Error::Mismatch(Mismatch::StateWithoutOperator { name, .. })) => {
            assert_eq!(name, "sum");
        }
        other => panic!("{other:?}"),
    }
    let second = context(builder(&disk, 1).rename_state("sum", "total"), renamed).unwrap();
    run(&second, &[1]).unwrap();
    assert_eq!(second.counter("total"), Some(6));
    stop(second);
    let third = context(builder(&disk, 1).drop_state("total"), renamed).unwrap();
    run(&third, &[1]).unwrap();
    assert_eq!(third.counter("total"), Some(1));
    stop(third);
    let other_kind = |ssc: &StreamScope| {
        let total = ssc.broadcast("total", ssc.input::<u64>("in"));
        let seen = ssc.input::<u64>("other").map(move |_| total.get());
        seen.for_each_batch("out", |_, _| ());
    };
    match context(builder(&disk, 1), other_kind) {
        Err(Error::Mismatch(Mismatch::OtherKind { then, now, .. })) => {
            assert_eq!((&*then, &*now), ("counter", "broadcast"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broadcast_value_of_an_older_type_is_converted() {
    let disk = SimDisk::new();
    let rates = |ssc: &StreamScope| {
        let rate = ssc.broadcast("rate", ssc.input::<u64>("in"));
        let seen = ssc.input::<u64>("seen").map(move |_| rate.get());
        seen.for_each_batch("out", |_, _| ());
    };
    let first = context(builder(&disk, 1), rates).unwrap();
    run(&first, &[5]).unwrap();
    stop(first);
    let texts = builder(&disk, 1)
        .migrate_state::<u64, String>("rate", |n| format!("{n} percent"))
        .get_or_create(|ssc| {
            let numbers = ssc.input::<u64>("in").map(|n| n.to_string());
            let rate = ssc.broadcast("rate", numbers);
            let handle = rate.clone();
            let seen = ssc.input::<u64>("seen").map(move |_| rate.get());
            seen.for_each_batch("out", move |_, _| {
                assert_eq!(handle.get().unwrap().as_str(), "5 percent");
            });
            Ok(())
        })
        .unwrap();
    texts.start().unwrap();
    run(&texts, &[]).unwrap();
}

/// What an output adds would be lost by a recovery, which does not call outputs again.
#[test]
fn counting_outside_the_operators_is_refused() {
    let disk = SimDisk::new();
    let in_output = |ssc: &StreamScope| {
        let outputs = ssc.counter("outputs");
        let numbers = ssc.input::<u64>("in");
        numbers.for_each_batch("out", move |_, _| outputs.add(1));
    };
    let context = context(builder(&disk, 1), in_output).unwrap();
    let error = run(&context, &[1]).unwrap_err().to_string();
    assert!(
        error.contains("\"out\"") && error.contains("outside the operators"),
        "{error}"
    );
}

/// A value that serde does not give back would differ after a restart.
#[test]
fn a_value_that_cannot_be_kept_fails_its_batch() {
    let disk = SimDisk::new();
    let nested = |ssc: &StreamScope| {
        let nested = ssc
            .input::<u64>("in")
            .map(|n| (n > 1).then_some(None::<u64>));
        let value = ssc.broadcast("nested", nested);
        let seen = ssc.input::<u64>("seen").map(move |_| value.get());
        seen.for_each_batch("out", |_, _| ());
    };
    let context = context(builder(&disk, 2), nested).unwrap();
    run(&context, &[1]).unwrap();
    let error = run(&context, &[2]).unwrap_err().to_string();
    assert!(error.contains("broadcast \"nested\""), "{error}");
}
