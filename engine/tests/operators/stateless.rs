//! Operators without state that see a batch as a whole or in partitions, in tables.
#![allow(clippy::cast_possible_truncation, reason = "test code")]

use crate::common::builder;
use crate::common::table::{AnyOrder, ByKey, INTERVAL_MS, Records, START_MS, Table, records};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{DStream, GraphError, Result, StreamScope};
use parking_lot::Mutex;
use std::sync::Arc;

fn numbers(ssc: &StreamScope) -> DStream<u64> {
    ssc.input("numbers")
}

fn send(numbers: impl IntoIterator<Item = u64>) -> [Records; 1] {
    [records::<u64>("numbers", numbers)]
}

fn pairs(ssc: &StreamScope) -> DStream<(String, u64)> {
    ssc.input("pairs")
}

fn pair(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
}

fn send_pairs(of: &[(&str, u64)]) -> [Records; 1] {
    [records::<(String, u64)>("pairs", pair(of))]
}

#[test]
fn glom_gives_the_records_of_a_small_batch_at_once() {
    Table::new(|ssc| numbers(ssc).filter(|n| *n != 7).glom())
        .batch(send([3, 1, 7, 2]), vec![vec![3, 1, 2]])
        .batch([], vec![])
        .batch(send([7]), vec![])
        .batch(send(0..20), vec![(0..20).filter(|n| *n != 7).collect()])
        .check();
}

#[test]
fn glom_after_a_keyed_operator_has_a_key_group_per_record() {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let ten: Vec<(&str, u64)> = keys.into_iter().zip(0..).collect();
    Table::new(|ssc| {
        let groups = pairs(ssc).reduce_by_key(|a, b| a + b).glom();
        let sizes = groups.transform(|groups, _| {
            let some = |group: &Vec<(String, u64)>| !group.is_empty();
            vec![(groups.iter().all(some), groups.len() <= 8, groups.len() > 2)]
        });
        (AnyOrder(groups.flat_map(|group| group)), sizes)
    })
    .batch(send_pairs(&ten), (pair(&ten), vec![(true, true, true)]))
    .batch([], (vec![], vec![(true, true, false)]))
    .batch(
        send_pairs(&[("a", 1), ("b", 2), ("a", 3)]),
        (pair(&[("a", 4), ("b", 2)]), vec![(true, true, false)]),
    )
    .check();
}

#[test]
fn map_partitions_calls_the_function_once_per_partition() {
    Table::new(|ssc| {
        numbers(ssc).map_partitions(|numbers| [numbers.len() as u64, numbers.iter().sum()])
    })
    .batch(send([1, 2, 3]), vec![3, 6])
    .batch([], vec![])
    .batch(send([5]), vec![1, 5])
    .check();
}

#[test]
fn repartition_keeps_the_order_and_makes_equal_parts() {
    Table::new(|ssc| {
        let parts = numbers(ssc).repartition(3);
        (parts.map(|n| n * 10), parts.filter(|n| *n != 2).glom())
    })
    .batch(
        send([1, 2, 3, 4, 5, 6, 7]),
        (
            vec![10, 20, 30, 40, 50, 60, 70],
            vec![vec![1], vec![3, 4], vec![5, 6, 7]],
        ),
    )
    .batch([], (vec![], vec![vec![], vec![], vec![]]))
    .batch(send([2, 9]), (vec![20, 90], vec![vec![], vec![], vec![9]]))
    .check();
}

#[test]
fn repartition_may_follow_itself_and_whole_batches() {
    Table::new(|ssc| {
        let (numbers, words) = (numbers(ssc), ssc.input::<u64>("more"));
        let all = numbers.repartition(5).union(&words).repartition(2);
        (all.glom(), all.count().repartition(1).glom())
    })
    .batch(
        [
            records::<u64>("numbers", [1_u64, 2]),
            records::<u64>("more", [7_u64]),
            records::<u64>("numbers", [3_u64]),
        ],
        // What has its place in the log comes before what was made of the batch.
        (vec![vec![7, 1], vec![2, 3]], vec![vec![4]]),
    )
    .batch([], (vec![vec![], vec![]], vec![vec![0]]))
    .batch(send([4]), (vec![vec![], vec![4]], vec![vec![1]]))
    .check();
}

#[test]
fn a_number_of_partitions_that_cannot_be_meant_is_refused() {
    for (partitions, is_refused) in [(0, true), (1, false), (32_768, false), (32_769, true)] {
        let built = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
            numbers(ssc)
                .repartition(partitions)
                .count()
                .for_each_batch("out", |_, _| ());
            Ok(())
        });
        let error = built.err().map(|e| e.to_string()).unwrap_or_default();
        let expected = format!("partitions must be from 1 to 32768, not {partitions}");
        assert_eq!(error.contains(&expected), is_refused, "{error}");
        assert_eq!(
            error.contains("repartition at engine/tests/operators/stateless.rs:"),
            is_refused
        );
    }
}

/// The partitions of a large batch: how many records each has.
fn partitions(workers: usize, chunk_bytes: u64) -> Result<Vec<Vec<u64>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let on_batch = Arc::clone(&seen);
    let context = builder(&SimDisk::new(), workers)
        .chunk_bytes(chunk_bytes)
        .get_or_create(|ssc| {
            let records = ssc.input::<(u64, String)>("in").map(|(n, _)| n);
            records
                .glom()
                .for_each_batch("out", move |_, parts| on_batch.lock().extend(parts));
            Ok(())
        })?;
    context.start()?;
    let input = context.input("in")?;
    for number in 0..600_u64 {
        input.send(&(number, "x".repeat(3500)))?.wait()?;
    }
    context.run_batch()?;
    drop(context);
    Ok(Arc::try_unwrap(seen).unwrap().into_inner())
}

/// If a partition were a chunk, a setting, a restart with another one, or another number of workers
/// would change a result that was published.
#[test]
fn partitions_of_a_large_batch_follow_from_its_log_alone() {
    let first = partitions(1, 512 << 10).unwrap();
    assert_eq!(first.concat(), (0..600).collect::<Vec<_>>());
    assert!((4..20).contains(&first.len()), "{} partitions", first.len());
    for (workers, chunk_bytes) in [(1, 1), (2, 512 << 10), (3, 100_000), (2, 4 << 20)] {
        assert_eq!(
            partitions(workers, chunk_bytes).unwrap(),
            first,
            "{workers} workers, chunks of {chunk_bytes} bytes"
        );
    }
}

#[test]
fn reduce_gives_one_record_for_a_batch_that_has_any() {
    // Subtraction from the left tells the order, but for the first of each chunk: joined text does.
    Table::new(|ssc| {
        let lines = ssc.input::<String>("lines");
        (
            lines.reduce(|a, b| a + &b),
            lines.filter(|l| l == "none").reduce(|a, _| a),
        )
    })
    .batch(
        [records::<String>("lines", ["a", "b", "c", "d"])],
        (vec!["abcd".to_owned()], vec![]),
    )
    .batch([], (vec![], vec![]))
    .batch(
        [records::<String>("lines", ["e", "none"])],
        (vec!["enone".to_owned()], vec!["none".to_owned()]),
    )
    .check();
}

#[test]
fn transform_with_sees_both_batches_in_order_and_also_empty_ones() {
    Table::new(|ssc| {
        let (numbers, words) = (numbers(ssc), ssc.input::<String>("words"));
        numbers.transform_with(&words, |numbers, words, batch| {
            vec![format!(
                "{} {numbers:?} {words:?}",
                (batch.time_ms - START_MS) / INTERVAL_MS
            )]
        })
    })
    .batch(
        [
            records::<String>("words", ["b", "a"]),
            records::<u64>("numbers", [2_u64, 1]),
        ],
        vec!["1 [2, 1] [\"b\", \"a\"]".to_owned()],
    )
    .batch([], vec!["2 [] []".to_owned()])
    .batch(
        [records::<String>("words", ["c"])],
        vec!["3 [] [\"c\"]".to_owned()],
    )
    .check();
}

#[test]
fn transform_with_may_read_one_stream_twice() {
    Table::new(|ssc| {
        let numbers = numbers(ssc);
        numbers.transform_with(&numbers.map(|n| n * 10), |a, b, _| [b, a].concat())
    })
    .batch(send([1, 2]), vec![10, 20, 1, 2])
    .batch([], vec![])
    .batch(send([3]), vec![30, 3])
    .check();
}

#[test]
fn streams_of_two_contexts_are_refused() {
    let mut foreign = None;
    let other = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        let stream = numbers(ssc);
        stream.for_each_batch("out", |_, _| ());
        foreign = Some(stream);
        Ok(())
    });
    other.unwrap();
    let foreign = foreign.unwrap();
    let refused = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        let out = numbers(ssc).transform_with(&foreign, |a, _, _| a);
        out.for_each_batch("out", |_, _| ());
        Ok(())
    });
    let highwater_engine::Error::Graph(errors) = refused.unwrap_err() else {
        panic!("the program is refused")
    };
    assert!(
        matches!(&errors.0[..], [GraphError::ForeignStream { operator }] if operator.starts_with("transform_with at ")),
        "{errors}"
    );
}

#[test]
fn values_of_pairs_are_mapped_and_keys_stay() {
    Table::new(|ssc| {
        let pairs = pairs(ssc);
        let twice = pairs.flat_map_values(|n| (0..n).map(move |i| n * 10 + i));
        (
            (pairs.map_values(|n| n + 1), twice),
            (
                pairs.swap(),
                pairs.keys().union(&pairs.values().map(|n| n.to_string())),
            ),
        )
    })
    .batch(
        send_pairs(&[("b", 2), ("a", 0), ("b", 1)]),
        (
            (
                pair(&[("b", 3), ("a", 1), ("b", 2)]),
                pair(&[("b", 20), ("b", 21), ("b", 10)]),
            ),
            (
                vec![
                    (2, "b".to_owned()),
                    (0, "a".to_owned()),
                    (1, "b".to_owned()),
                ],
                ["b", "2", "a", "0", "b", "1"].map(str::to_owned).to_vec(),
            ),
        ),
    )
    .batch([], ((vec![], vec![]), (vec![], vec![])))
    .batch([], ((vec![], vec![]), (vec![], vec![])))
    .check();
}

#[test]
fn count_and_count_by_value_in_tables() {
    Table::new(|ssc| {
        (
            numbers(ssc).count(),
            ByKey(numbers_again(ssc).count_by_value()),
        )
    })
    .batch(
        [
            records::<u64>("numbers", [5_u64, 5, 6]),
            records::<u64>("again", [5_u64, 5, 6]),
        ],
        (vec![3], vec![(5, 2), (6, 1)]),
    )
    .batch([], (vec![0], vec![]))
    .batch([records::<u64>("again", [6_u64])], (vec![0], vec![(6, 1)]))
    .check();
}

fn numbers_again(ssc: &StreamScope) -> DStream<u64> {
    ssc.input("again")
}

/// A record that fails is named by its place in the log, also behind nodes that gather records.
#[test]
fn a_failure_names_the_record_behind_repartition_and_behind_a_long_chain() {
    type Program = fn(DStream<u64>) -> DStream<u64>;
    let programs: [(Program, &str); 3] = [
        (|numbers| numbers.map(fail_on_seven), "map"),
        (|numbers| numbers.repartition(2).map(fail_on_seven), "map"),
        (
            |numbers| {
                let chain = (0..200).fold(numbers, |numbers, _| numbers.filter(|_| true));
                chain.flat_map(|n| [fail_on_seven(n)])
            },
            "flat_map",
        ),
    ];
    for (program, operator) in programs {
        let context = builder(&SimDisk::new(), 2)
            .get_or_create(|ssc| {
                program(numbers(ssc)).for_each_batch("out", |_, _| ());
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        let input = context.input::<u64>("numbers").unwrap();
        let lsns: Vec<_> = (5..9).map(|n| input.send(&n).unwrap().lsn()).collect();
        let error = context.run_batch().unwrap_err().to_string();
        let expected = format!("record at LSN {}", lsns[2]);
        assert!(
            error.contains(&expected) && error.contains("seven is refused"),
            "{expected}: {error}"
        );
        assert!(error.contains(&format!("operator {operator} (")), "{error}");
    }
}

fn fail_on_seven(n: u64) -> u64 {
    assert!(n != 7, "seven is refused");
    n
}
