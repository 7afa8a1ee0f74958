//! Each operator's stated behaviour, on one worker and on several.
#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]

use crate::common;
use crate::common::{builder, sorted};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{Batch, DStream, StreamScope, StreamingContext};
use parking_lot::Mutex;
use std::fmt::Debug;
use std::sync::Arc;

/// Runs `program` over the batches and returns what its stream held in each.
fn run<T, F>(workers: usize, batches: &[&[&str]], program: F) -> Vec<Vec<T>>
where
    T: Clone + Send + Debug + 'static,
    F: FnOnce(&StreamScope, DStream<String>) -> DStream<T>,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let on_batch = Arc::clone(&seen);
    let context = builder(&SimDisk::new(), workers)
        .get_or_create(move |ssc| {
            let lines = ssc.input::<String>("lines");
            program(ssc, lines).for_each_batch("out", move |_: &Batch, r| on_batch.lock().push(r));
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    for lines in batches {
        lines.iter().for_each(|line| common::send(&context, line));
        context.run_batch().unwrap();
    }
    drop(context);
    Arc::try_unwrap(seen).unwrap().into_inner()
}

fn words(line: String) -> Vec<(String, u64)> {
    line.split_whitespace().map(|w| (w.to_owned(), 1)).collect()
}

fn owned(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect()
}

#[test]
fn stateless_operators_keep_the_order_of_arrival() {
    for workers in [1, 2, 3] {
        let out = run(workers, &[&["a b", "c", "d e f"], &[]], |_, lines| {
            lines
                .flat_map(|line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .filter(|w| w != "c")
                .map(|w| format!("<{w}>"))
        });
        assert_eq!(
            out,
            [vec!["<a>", "<b>", "<d>", "<e>", "<f>"], vec![]],
            "{workers} workers"
        );
    }
}

#[test]
fn reduce_by_key_combines_in_order_of_arrival() {
    for workers in [1, 2] {
        let out = run(workers, &[&["k 1", "j 2", "k 3", "k 4"]], |_, lines| {
            lines
                .map(|line: String| {
                    let (key, value) = line.split_once(' ').unwrap();
                    (key.to_owned(), value.to_owned())
                })
                .reduce_by_key(|a, b| a + &b)
        });
        let mut batch = out[0].clone();
        batch.sort();
        assert_eq!(
            batch,
            [("j".into(), "2".to_owned()), ("k".into(), "134".to_owned())]
        );
    }
}

#[test]
fn group_by_key_gathers_values_in_order() {
    let out = run(2, &[&["k 1", "j 2", "k 3"]], |_, lines| {
        lines
            .map(|line: String| {
                let (key, value) = line.split_once(' ').unwrap();
                (key.to_owned(), value.parse::<u64>().unwrap())
            })
            .group_by_key()
    });
    let mut batch = out[0].clone();
    batch.sort();
    assert_eq!(
        batch,
        [("j".to_owned(), vec![2]), ("k".to_owned(), vec![1, 3])]
    );
}

#[test]
fn count_gives_one_record_per_batch_also_for_an_empty_one() {
    for workers in [1, 2] {
        let out = run(workers, &[&["a", "b", "c"], &[], &["d"]], |_, lines| {
            lines.count()
        });
        assert_eq!(out, [[3], [0], [1]], "{workers} workers");
    }
}

#[test]
fn count_by_value_and_map_values() {
    let out = run(2, &[&["x", "y", "x"]], |_, lines| {
        lines.count_by_value().map_values(|n| n * 10)
    });
    assert_eq!(sorted(&out[0]), owned(&[("x", 20), ("y", 10)]));
}

#[test]
fn union_has_everything_of_both_streams() {
    for workers in [1, 2] {
        let out = run(workers, &[&["a", "b"]], |ssc, lines| {
            let shouted = lines.map(|l: String| l.to_uppercase());
            let other = ssc.input::<String>("unused");
            lines.union(&shouted).union(&other)
        });
        let mut batch = out[0].clone();
        batch.sort();
        assert_eq!(batch, ["A", "B", "a", "b"], "{workers} workers");
    }
}

#[test]
fn transform_sees_the_whole_batch_in_order_and_also_empty_ones() {
    for workers in [1, 2] {
        let out = run(workers, &[&["b", "a"], &[]], |_, lines| {
            lines.transform(|mut batch: Vec<String>, info| {
                batch.push(format!("batch {}", info.id));
                batch
            })
        });
        assert_eq!(
            out,
            [vec!["b", "a", "batch 1"], vec!["batch 2"]],
            "{workers} workers"
        );
    }
}

/// A persisted stream is computed once for two readers, an unpersisted one once for each.
#[test]
fn persist_computes_a_stream_once() {
    for (persisted, expected) in [(false, 4), (true, 2)] {
        let calls = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let in_map = Arc::clone(&calls);
        let out = run(1, &[&["a", "b"]], move |_, lines| {
            let mapped = lines.map(move |l: String| {
                in_map.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                l
            });
            let mapped = if persisted { mapped.persist() } else { mapped };
            mapped.union(&mapped)
        });
        assert_eq!(out[0].len(), 4);
        assert_eq!(
            calls.load(std::sync::atomic::Ordering::Relaxed),
            expected,
            "persisted: {persisted}"
        );
    }
}

/// As in Spark: the function sees every key in every batch, and `None` deletes.
#[test]
fn update_state_by_key_visits_every_key_and_deletes_on_none() {
    for workers in [1, 2] {
        let out = run(workers, &[&["a a b"], &["b"], &[]], |_, lines| {
            lines.flat_map(words).update_state_by_key(
                "s",
                |_, new: &[u64], state: &mut Option<u64>| {
                    // Two points per occurrence, one lost in a batch without: a key at zero goes.
                    let points = state.unwrap_or(0) + 2 * new.iter().sum::<u64>();
                    let points = if new.is_empty() { points - 1 } else { points };
                    *state = (points > 0).then_some(points);
                },
            )
        });
        let out: Vec<_> = out.iter().map(|b| sorted(b)).collect();
        assert_eq!(
            out,
            [
                owned(&[("a", 4), ("b", 2)]),
                owned(&[("a", 3), ("b", 4)]),
                owned(&[("a", 2), ("b", 3)])
            ]
        );
    }
}

#[test]
fn update_state_by_key_changed_visits_only_keys_with_values() {
    let out = run(2, &[&["a a b"], &["b"], &[]], |_, lines| {
        lines.flat_map(words).update_state_by_key_changed(
            "s",
            |_, new: &[u64], state: &mut Option<u64>| {
                *state = Some(state.unwrap_or(0) + new.iter().sum::<u64>());
            },
        )
    });
    let out: Vec<_> = out.iter().map(|b| sorted(b)).collect();
    assert_eq!(
        out,
        [owned(&[("a", 2), ("b", 1)]), owned(&[("b", 2)]), vec![]]
    );
}

#[test]
fn map_with_state_sees_every_record_with_its_keys_state() {
    let out = run(2, &[&["a a b", "drop"], &["a drop"]], |_, lines| {
        lines
            .flat_map(words)
            .map_with_state("seen", |word: &String, one, state| {
                if word == "drop" {
                    return format!("drop had {:?}", state.remove());
                }
                let total = state.get().copied().unwrap_or(0) + one;
                state.update(total);
                assert!(state.exists());
                format!("{word}{total}")
            })
    });
    let out: Vec<Vec<String>> = out
        .into_iter()
        .map(|mut b| {
            b.sort();
            b
        })
        .collect();
    assert_eq!(
        out,
        [
            vec!["a1", "a2", "b1", "drop had None"],
            vec!["a3", "drop had None"]
        ]
    );
}

#[test]
fn two_outputs_run_in_order_of_definition() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (Arc::clone(&order), Arc::clone(&order));
    let context: StreamingContext = builder(&SimDisk::new(), 2)
        .get_or_create(move |ssc| {
            let lines = ssc.input::<String>("lines");
            lines.for_each_batch("z first", move |_, _| first.lock().push(1));
            lines
                .count()
                .for_each_batch("a second", move |_, _| second.lock().push(2));
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    context.run_batch().unwrap();
    context.run_batch().unwrap();
    assert_eq!(*order.lock(), [1, 2, 1, 2]);
}
