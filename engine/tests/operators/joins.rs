//! Operators that combine the values of a key, or bring two streams together by key, in tables.
#![allow(clippy::cast_possible_truncation, reason = "test code")]

use crate::common::builder;
use crate::common::table::{ByKey, Records, Table, records};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{DStream, Error, GraphError, StreamScope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

type Left = DStream<(String, u64)>;
type Right = DStream<(String, char)>;

fn left(ssc: &StreamScope) -> Left {
    ssc.input("left")
}

fn right(ssc: &StreamScope) -> Right {
    ssc.input("right")
}

fn owned<V: Clone>(pairs: &[(&str, V)]) -> Vec<(String, V)> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect()
}

fn send_left(pairs: &[(&str, u64)]) -> Records {
    records::<(String, u64)>("left", owned(pairs))
}

fn send_right(pairs: &[(&str, char)]) -> Records {
    records::<(String, char)>("right", owned(pairs))
}

/// What all tests of two streams send: keys of both sides, of one side, several values, an empty
/// batch, a batch of one side alone, one hot key.
fn batches<V: Clone + std::fmt::Debug + Send + 'static>(
    program: impl Fn(&StreamScope) -> DStream<(String, V)> + 'static,
    expected: [&[(&str, V)]; 4],
) {
    let hot: Vec<(&str, u64)> = (0..30).map(|n| ("hot", n)).collect();
    Table::new(move |ssc| ByKey(program(ssc)))
        .batch(
            [
                send_right(&[("b", 'x'), ("c", 'y')]),
                send_left(&[("a", 1), ("b", 2), ("b", 3)]),
                send_right(&[("b", 'z')]),
            ],
            owned(expected[0]),
        )
        .batch([], owned(expected[1]))
        .batch([send_left(&[("b", 4)])], owned(expected[2]))
        .batch(
            [send_left(&hot), send_right(&[("hot", 'h'), ("b", 'i')])],
            owned(expected[3]),
        )
        .check();
}

#[test]
fn cogroup_gathers_the_values_of_both_sides() {
    batches(
        |ssc| left(ssc).cogroup(&right(ssc)),
        [
            &[
                ("a", (vec![1], vec![])),
                ("b", (vec![2, 3], vec!['x', 'z'])),
                ("c", (vec![], vec!['y'])),
            ],
            &[],
            &[("b", (vec![4], vec![]))],
            &[
                ("b", (vec![], vec!['i'])),
                ("hot", ((0..30).collect(), vec!['h'])),
            ],
        ],
    );
}

#[test]
fn join_pairs_each_left_value_with_each_right_one() {
    let hot: Vec<_> = (0..30).map(|n| ("hot", (n, 'h'))).collect();
    batches(
        |ssc| left(ssc).join(&right(ssc)),
        [
            &[
                ("b", (2, 'x')),
                ("b", (2, 'z')),
                ("b", (3, 'x')),
                ("b", (3, 'z')),
            ],
            &[],
            &[],
            &hot,
        ],
    );
}

#[test]
fn left_outer_join_keeps_what_is_on_the_left() {
    let hot: Vec<_> = (0..30).map(|n| ("hot", (n, Some('h')))).collect();
    batches(
        |ssc| left(ssc).left_outer_join(&right(ssc)),
        [
            &[
                ("a", (1, None)),
                ("b", (2, Some('x'))),
                ("b", (2, Some('z'))),
                ("b", (3, Some('x'))),
                ("b", (3, Some('z'))),
            ],
            &[],
            &[("b", (4, None))],
            &hot,
        ],
    );
}

#[test]
fn right_outer_join_keeps_what_is_on_the_right() {
    let hot = (0..30).map(|n| ("hot", (Some(n), 'h')));
    let last: Vec<_> = hot.chain([("b", (None, 'i'))]).collect();
    batches(
        |ssc| left(ssc).right_outer_join(&right(ssc)),
        [
            &[
                ("b", (Some(2), 'x')),
                ("b", (Some(2), 'z')),
                ("b", (Some(3), 'x')),
                ("b", (Some(3), 'z')),
                ("c", (None, 'y')),
            ],
            &[],
            &[],
            &last,
        ],
    );
}

#[test]
fn full_outer_join_keeps_both_sides() {
    let hot = (0..30).map(|n| ("hot", (Some(n), Some('h'))));
    let last: Vec<_> = hot.chain([("b", (None, Some('i')))]).collect();
    batches(
        |ssc| left(ssc).full_outer_join(&right(ssc)),
        [
            &[
                ("a", (Some(1), None)),
                ("b", (Some(2), Some('x'))),
                ("b", (Some(2), Some('z'))),
                ("b", (Some(3), Some('x'))),
                ("b", (Some(3), Some('z'))),
                ("c", (None, Some('y'))),
            ],
            &[],
            &[("b", (Some(4), None))],
            &last,
        ],
    );
}

#[test]
fn a_stream_may_be_joined_with_itself_and_joins_with_joins() {
    Table::new(|ssc| {
        let left = left(ssc);
        let twice = left.join(&left.map_values(|n| n * 10));
        (
            ByKey(twice.clone()),
            ByKey(twice.join(&left.count_by_value().map(|((k, _), n)| (k, n)))),
        )
    })
    .batch(
        [send_left(&[("a", 1), ("a", 2), ("b", 3)])],
        (
            owned(&[
                ("a", (1, 10)),
                ("a", (1, 20)),
                ("a", (2, 10)),
                ("a", (2, 20)),
                ("b", (3, 30)),
            ]),
            owned(&[
                ("a", ((1, 10), 1)),
                ("a", ((1, 10), 1)),
                ("a", ((1, 20), 1)),
                ("a", ((1, 20), 1)),
                ("a", ((2, 10), 1)),
                ("a", ((2, 10), 1)),
                ("a", ((2, 20), 1)),
                ("a", ((2, 20), 1)),
                ("b", ((3, 30), 1)),
            ]),
        ),
    )
    .batch([], (vec![], vec![]))
    .batch(
        [send_left(&[("c", 7)])],
        (owned(&[("c", (7, 70))]), owned(&[("c", ((7, 70), 1))])),
    )
    .check();
}

#[test]
fn a_join_feeds_a_state() {
    Table::new(|ssc| {
        let joined = left(ssc).join(&right(ssc)).map_values(|(n, _)| n);
        ByKey(
            joined.update_state_by_key("sums", |_, new: &[u64], sum: &mut Option<u64>| {
                *sum = Some(sum.unwrap_or(0) + new.iter().sum::<u64>());
            }),
        )
    })
    .batch(
        [
            send_left(&[("a", 1), ("b", 2)]),
            send_right(&[("a", 'x'), ("a", 'y')]),
        ],
        owned(&[("a", 2)]),
    )
    .batch([send_left(&[("a", 5)])], owned(&[("a", 2)]))
    .batch([], owned(&[("a", 2)]))
    .batch(
        [
            send_left(&[("a", 5), ("b", 1)]),
            send_right(&[("b", 'x'), ("a", 'y')]),
        ],
        owned(&[("a", 7), ("b", 1)]),
    )
    .check();
}

#[test]
fn join_static_keeps_the_order_of_the_pairs() {
    // A key that stands twice joins with each value, in the order of the data set.
    let data = || owned(&[("b", 'x'), ("a", 'y'), ("b", 'z')]);
    Table::new(move |ssc| {
        let left = left(ssc);
        (
            left.join_static(data()),
            left.left_outer_join_static(data()),
        )
    })
    .batch(
        [send_left(&[("b", 1), ("none", 2), ("a", 3), ("b", 4)])],
        (
            owned(&[
                ("b", (1, 'x')),
                ("b", (1, 'z')),
                ("a", (3, 'y')),
                ("b", (4, 'x')),
                ("b", (4, 'z')),
            ]),
            owned(&[
                ("b", (1, Some('x'))),
                ("b", (1, Some('z'))),
                ("none", (2, None)),
                ("a", (3, Some('y'))),
                ("b", (4, Some('x'))),
                ("b", (4, Some('z'))),
            ]),
        ),
    )
    .batch([], (vec![], vec![]))
    .batch(
        [send_left(&[("none", 5)])],
        (vec![], owned(&[("none", (5, None))])),
    )
    .check();
}

#[test]
fn combine_by_key_makes_merges_and_puts_together_in_order() {
    // Text shows the order. Nothing shows where a chunk ends.
    Table::new(|ssc| {
        let letters = right(ssc).map_values(|c| c.to_string());
        ByKey(letters.combine_by_key(
            |c| vec![c],
            |all, c| [all, vec![c]].concat(),
            |a, b| [a, b].concat(),
        ))
    })
    .batch(
        [send_right(&[
            ("a", '1'),
            ("b", '2'),
            ("a", '3'),
            ("a", '4'),
            ("b", '5'),
        ])],
        owned(&[
            ("a", ["1", "3", "4"].map(str::to_owned).to_vec()),
            ("b", ["2", "5"].map(str::to_owned).to_vec()),
        ]),
    )
    .batch([], vec![])
    .batch(
        [send_right(&[("b", '6')])],
        owned(&[("b", vec!["6".to_owned()])]),
    )
    .check();
}

#[test]
fn combine_by_key_gives_means() {
    Table::new(|ssc| {
        let sums = left(ssc).combine_by_key(
            |n| (n, 1_u64),
            |(sum, count), n| (sum + n, count + 1),
            |(a, n), (b, m)| (a + b, n + m),
        );
        ByKey(sums.map_values(|(sum, count)| sum / count))
    })
    .batch(
        [send_left(&[("a", 2), ("b", 7), ("a", 4), ("a", 9)])],
        owned(&[("a", 5), ("b", 7)]),
    )
    .batch([], vec![])
    .batch([send_left(&[("a", 1)])], owned(&[("a", 1)]))
    .check();
}

#[test]
fn aggregate_by_key_begins_with_zero() {
    Table::new(|ssc| {
        let sets = left(ssc).aggregate_by_key(
            BTreeSet::new(),
            |mut set: BTreeSet<u64>, n| {
                set.insert(n);
                set
            },
            |a, b| &a | &b,
        );
        ByKey(sets.map_values(|set| set.into_iter().collect::<Vec<_>>()))
    })
    .batch(
        [send_left(&[("a", 2), ("a", 1), ("b", 7), ("a", 2)])],
        owned(&[("a", vec![1, 2]), ("b", vec![7])]),
    )
    .batch([], vec![])
    .batch([send_left(&[("b", 1)])], owned(&[("b", vec![1])]))
    .check();
}

#[test]
fn streams_of_two_contexts_are_not_joined() {
    let mut foreign = None;
    let other = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        right(ssc).for_each_batch("out", |_, _| ());
        foreign = Some(right_again(ssc));
        Ok(())
    });
    drop(other.unwrap());
    let foreign = foreign.unwrap();
    let refused = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        let joined = left(ssc).join(&foreign);
        joined.for_each_batch("out", |_, _| ());
        Ok(())
    });
    let Error::Graph(errors) = refused.unwrap_err() else {
        panic!("the program is refused")
    };
    assert!(
        matches!(&errors.0[..], [GraphError::ForeignStream { operator }] if operator.starts_with("join at ")),
        "{errors}"
    );
}

fn right_again(ssc: &StreamScope) -> Right {
    ssc.input("again")
}

/// A name without regard to case: equal keys that serialise to different bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Name(String);

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

/// A key on the left that is equal to one of other bytes on the right: the join found nothing, or
/// found it, as the hash had it.
#[test]
fn equal_keys_of_different_bytes_on_the_two_sides_are_refused() {
    let context = builder(&SimDisk::new(), 1)
        .get_or_create(|ssc| {
            let (left, right) = (
                ssc.input::<(Name, u64)>("left"),
                ssc.input::<(Name, u64)>("right"),
            );
            left.join(&right).for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    for (input, name) in [("left", "Ann"), ("right", "ANN")] {
        let input = context.input::<(Name, u64)>(input).unwrap();
        input
            .send(&(Name(name.to_owned()), 1))
            .unwrap()
            .wait()
            .unwrap();
    }
    let error = context.run_batch().unwrap_err().to_string();
    assert!(
        error.contains("join (") && error.contains("is equal to a key that serialises"),
        "{error}"
    );
    assert!(error.contains("ANN"), "{error}");
}

fn seconds(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

/// Spark's way to join what came at different times: windows of different lengths.
#[test]
fn windows_of_different_lengths_are_joined() {
    Table::new(|ssc| {
        let short = left(ssc).window("short", seconds(2), seconds(1));
        let long = right(ssc).window("long", seconds(3), seconds(1));
        (
            ByKey(short.join(&long)),
            ByKey(short.full_outer_join(&long)),
        )
    })
    .batch(
        [send_left(&[("a", 1)]), send_right(&[("a", 'x')])],
        (
            owned(&[("a", (1, 'x'))]),
            owned(&[("a", (Some(1), Some('x')))]),
        ),
    )
    .batch(
        [send_left(&[("a", 2)])],
        (
            owned(&[("a", (1, 'x')), ("a", (2, 'x'))]),
            owned(&[("a", (Some(1), Some('x'))), ("a", (Some(2), Some('x')))]),
        ),
    )
    .batch(
        [],
        (
            owned(&[("a", (2, 'x'))]),
            owned(&[("a", (Some(2), Some('x')))]),
        ),
    )
    .batch(
        [send_right(&[("b", 'y')])],
        (vec![], owned(&[("b", (None, Some('y')))])),
    )
    .batch(
        [send_left(&[("b", 3), ("a", 4)])],
        (
            owned(&[("b", (3, 'y'))]),
            owned(&[("a", (Some(4), None)), ("b", (Some(3), Some('y')))]),
        ),
    )
    .check();
}

#[test]
fn streams_with_different_slides_are_not_joined() {
    let refused = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        let two = left(ssc).window("two", seconds(2), seconds(2));
        let three = right(ssc).window("three", seconds(3), seconds(3));
        two.join(&three).for_each_batch("out", |_, _| ());
        Ok(())
    });
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("join at engine/tests/operators/joins.rs:")
            && error.contains("2000 ms")
            && error.contains("3000 ms"),
        "{error}"
    );
}
