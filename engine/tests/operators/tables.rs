//! The harness of tables itself: what it runs, and what it catches.
#![allow(clippy::cast_possible_truncation, reason = "test code")]

use crate::common::table::{ByKey, INTERVAL_MS, START_MS, Table, records};
use highwater_engine::{DStream, StreamScope};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn words(ssc: &StreamScope) -> DStream<(String, u64)> {
    let lines = ssc.input::<String>("lines");
    let words = lines.flat_map(|line: String| {
        let words = line.split(' ').map(|word| (word.to_owned(), 1));
        words.collect::<Vec<_>>()
    });
    words.update_state_by_key("counts", |_, new: &[u64], count: &mut Option<u64>| {
        *count = Some(count.unwrap_or(0) + new.iter().sum::<u64>());
    })
}

fn counts(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    let owned = |(word, count): &(&str, u64)| ((*word).to_owned(), *count);
    counts.iter().map(owned).collect()
}

#[test]
fn a_word_count_goes_on_after_every_end() {
    Table::new(|ssc| ByKey(words(ssc)))
        .batch(
            [records::<String>("lines", ["a b a", "c"])],
            counts(&[("a", 2), ("b", 1), ("c", 1)]),
        )
        .batch([], counts(&[("a", 2), ("b", 1), ("c", 1)]))
        .batch(
            [records::<String>("lines", ["b", "b b"])],
            counts(&[("a", 2), ("b", 4), ("c", 1)]),
        )
        .check();
}

#[test]
fn several_sources_and_outputs_are_compared_each_in_its_order() {
    let program = |ssc: &StreamScope| {
        let (numbers, words) = (ssc.input::<u64>("numbers"), ssc.input::<String>("words"));
        let all = numbers.map(|n| n.to_string()).union(&words);
        (all, numbers.map(|n| n + 1))
    };
    let all = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    Table::new(program)
        .batch(
            [
                records::<u64>("numbers", [2_u64, 1]),
                records::<String>("words", ["w"]),
                records::<u64>("numbers", [3_u64]),
            ],
            (all(&["2", "1", "w", "3"]), vec![3, 2, 4]),
        )
        .batch([], (vec![], vec![]))
        .batch(
            [records::<String>("words", ["x", "y"])],
            (all(&["x", "y"]), vec![]),
        )
        .check();
}

#[test]
fn every_batch_has_its_own_time_in_every_run() {
    let time = |n: u64| START_MS + n * INTERVAL_MS;
    Table::new(|ssc| {
        let lines = ssc.input::<String>("lines");
        lines.transform(|lines, batch| vec![(batch.id, batch.time_ms, lines.len())])
    })
    .batch(
        [records::<String>("lines", ["x"])],
        vec![(1, time(1), 1_usize)],
    )
    .batch([], vec![(2, time(2), 0)])
    .batch([], vec![(3, time(3), 0)])
    .check();
}

fn numbers(program: impl Fn(DStream<u64>) -> DStream<u64> + 'static) -> Table<DStream<u64>> {
    Table::new(move |ssc: &StreamScope| program(ssc.input::<u64>("in")))
}

#[test]
#[should_panic(expected = "batch 3 of output 0")]
fn a_wrong_batch_is_caught() {
    numbers(|numbers| numbers.map(|n| n * 2))
        .batch([records::<u64>("in", [1_u64])], vec![2])
        .batch([], vec![])
        .batch([records::<u64>("in", [2_u64])], vec![5])
        .check();
}

#[test]
#[should_panic(expected = "batch 1 of output 0")]
fn a_wrong_order_is_caught() {
    numbers(|numbers| numbers.map(|n| n))
        .batch([records::<u64>("in", [1_u64, 2])], vec![2, 1])
        .batch([], vec![])
        .batch([], vec![])
        .check();
}

/// State in a closure is lost by a restart, and the workers of a run do not share a partition.
#[test]
#[should_panic(expected = "batch 2 ")]
fn hidden_state_is_caught_by_the_restarts() {
    Table::new(|ssc| {
        let seen = Arc::new(AtomicU64::new(0));
        let numbers = ssc.input::<u64>("in");
        numbers.map(move |_| seen.fetch_add(1, Ordering::Relaxed))
    })
    .batch([records::<u64>("in", [1_u64])], vec![0])
    .batch([records::<u64>("in", [1_u64])], vec![1])
    .batch([], vec![])
    .check();
}

/// The table says nothing of the order of keys. A result that is not the same in every run is found
/// all the same.
#[test]
#[should_panic(expected = "the order differs from that of the first run")]
fn an_order_that_differs_from_run_to_run_is_caught() {
    Table::new(|ssc| {
        let numbers = ssc.input::<u64>("in");
        ByKey(numbers.transform(|numbers, _| {
            let hashed: HashMap<u64, u64> = numbers.into_iter().map(|n| (n, n)).collect();
            hashed.into_iter().collect()
        }))
    })
    .batch(
        [records::<u64>("in", 0_u64..20)],
        (0..20).map(|n| (n, n)).collect(),
    )
    .batch([], vec![])
    .batch([], vec![])
    .check();
}

#[test]
#[should_panic(expected = "0 batches cannot be cut in the middle")]
fn an_empty_table_is_refused() {
    numbers(|numbers| numbers).check();
}

#[test]
#[should_panic(expected = "no batch is without input")]
fn a_table_without_an_empty_batch_is_refused() {
    let mut table = numbers(|numbers| numbers.map(|n| n));
    for _ in 0..3 {
        table = table.batch([records::<u64>("in", [1_u64])], vec![1]);
    }
    table.check();
}

#[test]
#[should_panic(expected = "nothing ever comes out of output 0")]
fn a_table_without_output_is_refused() {
    numbers(|numbers| numbers.filter(|_| false))
        .batch([records::<u64>("in", [1_u64])], vec![])
        .batch([], vec![])
        .batch([], vec![])
        .check();
}
