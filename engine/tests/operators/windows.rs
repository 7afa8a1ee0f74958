//! Windows: tables of batches beside what Spark's operators give for them, and what is refused.

use crate::common::builder;
use crate::common::table::{AnyOrder, ByKey, Outputs, Records, START_MS, Table, records};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{DStream, StreamScope};
use std::sync::Arc;
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pairs(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    let owned = |(key, value): &(&str, i64)| ((*key).to_owned(), *value);
    pairs.iter().map(owned).collect()
}

fn input(pairs: &[(&str, i64)]) -> Vec<Records> {
    let records = records::<(String, i64)>("in", self::pairs(pairs));
    if pairs.is_empty() {
        vec![]
    } else {
        vec![records]
    }
}

fn words(words: &[&str]) -> Vec<Records> {
    if words.is_empty() {
        return vec![];
    }
    vec![records::<String>("in", words.iter().copied())]
}

type Pairs = DStream<(String, i64)>;

/// Fills a table of pairs: for each batch its input and output; no output means no window.
fn table<S: Outputs + 'static>(
    program: impl Fn(Pairs) -> S + 'static,
    batches: impl IntoIterator<Item = (Vec<Records>, Option<S::Batch>)>,
) -> Table<S> {
    let table = Table::new(move |ssc: &StreamScope| program(ssc.input("in")));
    batches
        .into_iter()
        .fold(table, |table, (input, expected)| match expected {
            Some(expected) => table.batch(input, expected),
            None => table.silent(input),
        })
}

// ---- Spark's WindowOperationsSuite

/// One key in one batch out of two, and two keys in later ones.
const BIG: [&[(&str, i64)]; 12] = [
    &[("a", 1)],
    &[("a", 1), ("b", 1)],
    &[("a", 1), ("b", 1), ("c", 1)],
    &[("a", 1), ("b", 1)],
    &[("a", 1)],
    &[],
    &[("a", 1)],
    &[("a", 1), ("b", 1)],
    &[("a", 1), ("b", 1), ("c", 1)],
    &[("a", 1), ("b", 1)],
    &[("a", 1)],
    &[],
];

/// The same, of the last two batches.
const BIG_REDUCED: [&[(&str, i64)]; 12] = [
    &[("a", 1)],
    &[("a", 2), ("b", 1)],
    &[("a", 2), ("b", 2), ("c", 1)],
    &[("a", 2), ("b", 2), ("c", 1)],
    &[("a", 2), ("b", 1)],
    &[("a", 1)],
    &[("a", 1)],
    &[("a", 2), ("b", 1)],
    &[("a", 2), ("b", 2), ("c", 1)],
    &[("a", 2), ("b", 2), ("c", 1)],
    &[("a", 2), ("b", 1)],
    &[("a", 1)],
];

/// With an inverse, keys stay.
const BIG_KEPT: [&[(&str, i64)]; 12] = [
    &[("a", 1)],
    &[("a", 2), ("b", 1)],
    &[("a", 2), ("b", 2), ("c", 1)],
    &[("a", 2), ("b", 2), ("c", 1)],
    &[("a", 2), ("b", 1), ("c", 0)],
    &[("a", 1), ("b", 0), ("c", 0)],
    &[("a", 1), ("b", 0), ("c", 0)],
    &[("a", 2), ("b", 1), ("c", 0)],
    &[("a", 2), ("b", 2), ("c", 1)],
    &[("a", 2), ("b", 2), ("c", 1)],
    &[("a", 2), ("b", 1), ("c", 0)],
    &[("a", 1), ("b", 0), ("c", 0)],
];

fn big(
    expected: [&'static [(&'static str, i64)]; 12],
) -> impl Iterator<Item = (Vec<Records>, Option<Vec<(String, i64)>>)> {
    BIG.into_iter()
        .zip(expected)
        .map(|(batch, expected)| (input(batch), Some(pairs(expected))))
}

#[test]
fn a_reduction_has_what_the_window_has() {
    let program = |pairs: Pairs| {
        ByKey(pairs.reduce_by_key_and_window("w", |a, b| a + b, seconds(2), seconds(1)))
    };
    table(program, big(BIG_REDUCED)).check();
}

#[test]
fn a_reduction_with_an_inverse_keeps_zeros() {
    let program = |pairs: Pairs| {
        let (add, subtract) = (|a, b| a + b, |a, b| a - b);
        ByKey(pairs.reduce_by_key_and_window_inverse("w", add, subtract, seconds(2), seconds(1)))
    };
    table(program, big(BIG_KEPT)).check();
}

#[test]
fn a_filter_lets_zeros_go() {
    let program = |pairs: Pairs| {
        let (add, subtract) = (|a, b| a + b, |a, b| a - b);
        let some = |_: &String, total: &i64| *total != 0;
        ByKey(pairs.reduce_by_key_and_window_inverse_with_filter(
            "w",
            add,
            subtract,
            seconds(2),
            seconds(1),
            some,
        ))
    };
    table(program, big(BIG_REDUCED)).check();
}

#[test]
fn values_are_gathered_in_the_order_of_the_log() {
    let program = |pairs: Pairs| ByKey(pairs.group_by_key_and_window("w", seconds(3), seconds(2)));
    let group = |key: &str, values: &[i64]| (key.to_owned(), values.to_vec());
    table(
        program,
        [
            (input(&[("a", 1)]), None),
            (
                input(&[("a", 3), ("b", 4), ("a", 2)]),
                Some(vec![group("a", &[1, 3, 2]), group("b", &[4])]),
            ),
            (input(&[]), None),
            (
                input(&[("c", 5), ("b", 1), ("b", 9)]),
                Some(vec![
                    group("a", &[3, 2]),
                    group("b", &[4, 1, 9]),
                    group("c", &[5]),
                ]),
            ),
            (input(&[]), None),
            (
                input(&[]),
                Some(vec![group("b", &[1, 9]), group("c", &[5])]),
            ),
            (input(&[]), None),
            (input(&[]), Some(vec![])),
            (input(&[("b", 7)]), None),
            (input(&[]), Some(vec![group("b", &[7])])),
        ],
    )
    .check();
}

// ---- Windows of records: length, slide, and both

const NUMBERED: [&[&str]; 10] = [
    &["0"],
    &["1"],
    &["2", "2b"],
    &["3"],
    &["4"],
    &[],
    &["6"],
    &["7"],
    &["8"],
    &["9"],
];

fn of_words<S: Outputs + 'static>(
    program: impl Fn(DStream<String>) -> S + 'static,
    expected: impl Fn(usize) -> Option<S::Batch>,
) {
    let table = Table::new(move |ssc: &StreamScope| program(ssc.input("in")));
    let table = NUMBERED
        .iter()
        .enumerate()
        .fold(table, |table, (at, batch)| match expected(at + 1) {
            Some(expected) => table.batch(words(batch), expected),
            None => table.silent(words(batch)),
        });
    table.check();
}

/// The records of the batches `(end - length, end]`, counted from 1.
fn of_batches(end: usize, length: usize) -> Vec<String> {
    let batches = NUMBERED.iter().take(end).skip(end.saturating_sub(length));
    batches
        .flat_map(|batch| batch.iter().map(|w| (*w).to_owned()))
        .collect()
}

#[test]
fn windows_of_every_length_and_slide_have_the_batches_of_their_time() {
    for (length, slide) in [
        (1, 1),
        (3, 1),
        (2, 2),
        (4, 2),
        (3, 2),
        (1, 2),
        (1, 4),
        (2, 5),
        (5, 2),
    ] {
        let program = move |words: DStream<String>| {
            words.window("w", seconds(length as u64), seconds(slide as u64))
        };
        of_words(program, |batch| {
            batch
                .is_multiple_of(slide)
                .then(|| of_batches(batch, length))
        });
    }
}

#[test]
fn a_reduction_of_records_emits_nothing_for_an_empty_window() {
    for (length, slide) in [(1, 1), (2, 1), (4, 2), (3, 2), (1, 2)] {
        let program = move |words: DStream<String>| {
            let join = |a: String, b: String| a + &b;
            words.reduce_by_window("w", join, seconds(length as u64), seconds(slide as u64))
        };
        of_words(program, |batch| {
            let all = of_batches(batch, length).concat();
            let window = if all.is_empty() { vec![] } else { vec![all] };
            batch.is_multiple_of(slide).then_some(window)
        });
    }
}

#[test]
fn a_reduction_of_records_with_an_inverse_goes_on_with_an_empty_window() {
    let program = |words: DStream<String>| {
        let lengths = words.map(|word| word.len() as u64);
        lengths.reduce_by_window_inverse("w", |a, b| a + b, |a, b| a - b, seconds(1), seconds(1))
    };
    of_words(program, |batch| {
        Some(vec![of_batches(batch, 1).concat().len() as u64])
    });
}

#[test]
fn records_are_counted_and_an_empty_window_after_some_is_a_zero() {
    for (length, slide) in [(1, 1), (2, 2), (3, 2)] {
        let program = move |words: DStream<String>| {
            words.count_by_window("w", seconds(length as u64), seconds(slide as u64))
        };
        of_words(program, |batch| {
            let count = of_batches(batch, length).len() as u64;
            batch.is_multiple_of(slide).then(|| vec![count])
        });
    }
}

#[test]
fn nothing_is_counted_before_the_first_record() {
    let program = |ssc: &StreamScope| {
        let words: DStream<String> = ssc.input("in");
        words.count_by_window("w", seconds(2), seconds(1))
    };
    Table::new(program)
        .batch([], vec![])
        .batch([], vec![])
        .batch(words(&["a"]), vec![1])
        .batch([], vec![1])
        .batch([], vec![0])
        .batch(words(&["a", "b"]), vec![2])
        .check();
}

#[test]
fn values_are_counted_and_those_that_are_gone_are_left_out() {
    let count = |value: &str, count: u64| (value.to_owned(), count);
    let program = |ssc: &StreamScope| {
        let words: DStream<String> = ssc.input("in");
        ByKey(words.count_by_value_and_window("w", seconds(3), seconds(2)))
    };
    Table::new(program)
        .silent(words(&["a", "b", "a"]))
        .batch(words(&["a"]), vec![count("a", 3), count("b", 1)])
        .silent([])
        .batch(words(&["c"]), vec![count("a", 1), count("c", 1)])
        .silent([])
        .batch([], vec![count("c", 1)])
        .silent([])
        .batch([], vec![])
        .silent(words(&["b"]))
        .batch([], vec![count("b", 1)])
        .check();
}

// ---- What reads a window

#[test]
fn what_reads_a_window_acts_when_it_ends() {
    let program = |ssc: &StreamScope| {
        let words: DStream<String> = ssc.input("in");
        let window = words.window("w", seconds(2), seconds(2));
        let lengths = window.map(|word: String| (word.len() % 2, 1_u64));
        let visits = lengths.update_state_by_key(
            "visits",
            |_, new: &[u64], state: &mut Option<(u64, u64)>| {
                let (visits, sum) = state.unwrap_or((0_u64, 0_u64));
                *state = Some((visits + 1, sum + new.iter().sum::<u64>()));
            },
        );
        let transformed = window.transform(|words, batch| vec![(batch.id, words.concat())]);
        let twice = AnyOrder(window.union(&window));
        ((window.count(), ByKey(visits)), (transformed, twice))
    };
    let some = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    Table::new(program)
        .silent(words(&["a", "bb"]))
        .batch(
            words(&["c"]),
            (
                (vec![3], vec![(1, (1, 2)), (0, (1, 1))]),
                (
                    vec![(2, "abbc".to_owned())],
                    some(&["a", "a", "bb", "bb", "c", "c"]),
                ),
            ),
        )
        .silent([])
        .batch(
            [],
            (
                (vec![0], vec![(1, (2, 2)), (0, (2, 1))]),
                (vec![(4, String::new())], vec![]),
            ),
        )
        .silent(words(&["d"]))
        .batch(
            [],
            (
                (vec![1], vec![(1, (3, 3)), (0, (3, 1))]),
                (vec![(6, "d".to_owned())], some(&["d", "d"])),
            ),
        )
        .check();
}

#[test]
fn a_window_of_windows_has_what_they_had() {
    let program = |words: DStream<String>| {
        let inner = words.window("inner", seconds(3), seconds(2));
        inner.window("outer", seconds(4), seconds(4))
    };
    of_words(program, |batch| {
        let both = || [of_batches(batch - 2, 3), of_batches(batch, 3)].concat();
        batch.is_multiple_of(4).then(both)
    });
}

/// Twenty keys in one window, one of them in most records.
#[test]
fn one_hot_key_is_reduced_in_order_beside_others() {
    let join = |a: String, b: String| a + &b;
    let program = move |pairs: DStream<(u64, String)>| {
        ByKey(pairs.reduce_by_key_and_window("w", join, seconds(4), seconds(2)))
    };
    let batch = |number: u64| -> Vec<(u64, String)> {
        let hot = (0..30).map(|n| (0, format!("{number}.{n} ")));
        hot.chain((1..20).map(|key| (key, format!("{number} "))))
            .collect()
    };
    let batches: Vec<Vec<(u64, String)>> = (1..=5).map(batch).chain([vec![]]).collect();
    let mut table = Table::new(move |ssc: &StreamScope| program(ssc.input("in")));
    for (at, sent) in batches.iter().enumerate() {
        let input = vec![records::<(u64, String)>("in", sent.clone())];
        let input = if sent.is_empty() { vec![] } else { input };
        if at % 2 == 0 {
            table = table.silent(input);
            continue;
        }
        let window = batches[at.saturating_sub(3)..=at].concat();
        let of_key = |key| {
            let values = window.iter().filter(|(k, _)| *k == key);
            values.map(|(_, value)| value.as_str()).collect::<String>()
        };
        table = table.batch(input, (0..20).map(|key| (key, of_key(key))).collect());
    }
    table.check();
}

// ---- How long a window keeps what came

/// Keys of a batch. No other batch has them.
const NEW_KEYS: u64 = 5;

/// Batches with input; those after them have none.
const WITH_INPUT: u64 = 24;

/// More than the longest window and its slide.
const WITHOUT_INPUT: u64 = 9;

/// From when on a state needs what came.
#[derive(Clone, Copy)]
enum Needs {
    /// The next window.
    NextWindow,
    /// Also the last one, whose values are taken away from its total later.
    LastWindow,
}

impl Needs {
    /// How many batches with input are needed after batch `newest`, counted from 1.
    fn batches(self, newest: u64, length: u64, slide: u64) -> u64 {
        let last = newest / slide * slide;
        let end = match self {
            Self::NextWindow => last + slide,
            Self::LastWindow => last,
        };
        let since = end.saturating_sub(length) + 1..=newest.min(WITH_INPUT);
        let in_a_window = |batch: &u64| batch.next_multiple_of(slide) - batch < length;
        since.filter(in_a_window).count() as u64
    }
}

/// Runs windows of several lengths and slides, and compares after every batch how many keys the
/// states have. Of each state: its name, its keys of one batch, and what it needs.
fn check_keys(
    program: impl Fn(&DStream<(u64, u64)>, Duration, Duration),
    states: &[(&str, u64, Needs)],
) {
    let spans = [(1, 1), (3, 1), (2, 2), (4, 2), (3, 2), (5, 2), (1, 2)];
    for ((length, slide), workers) in spans.into_iter().zip([1, 2, 3].into_iter().cycle()) {
        let clock = Arc::new(ManualClock::new(START_MS));
        let builder = builder(&SimDisk::new(), workers).clock(Arc::<ManualClock>::clone(&clock));
        let context = builder.get_or_create(|ssc| {
            program(&ssc.input("in"), seconds(length), seconds(slide));
            Ok(())
        });
        let context = context.unwrap();
        context.start().unwrap();
        let input = context.input::<(u64, u64)>("in").unwrap();
        for newest in 1..=WITH_INPUT + WITHOUT_INPUT {
            if newest <= WITH_INPUT {
                let keys = newest * NEW_KEYS..(newest + 1) * NEW_KEYS;
                let records: Vec<(u64, u64)> = keys.map(|key| (key, newest)).collect();
                input.send_all(&records).unwrap().wait().unwrap();
            }
            clock.advance(seconds(1));
            context.run_batch().unwrap();
            let kept = context.states().into_iter().map(|s| (s.name, s.keys));
            let needed = states.iter().map(|(name, of_a_batch, needs)| {
                let batches = needs.batches(newest, length, slide);
                ((*name).to_owned(), batches * of_a_batch)
            });
            assert_eq!(
                kept.collect::<Vec<_>>(),
                needed.collect::<Vec<_>>(),
                "batch {newest} of {length} s every {slide} s with {workers} workers"
            );
        }
    }
}

/// What stays too long is in no result, but fills the memory and the checkpoints.
#[test]
fn a_window_keeps_its_partitions_as_long_as_a_later_window_has_them() {
    check_keys(
        |pairs, length, slide| {
            let window = pairs.window("window", length, slide);
            window.for_each_batch("out of window", |_, _| ());
            let window = pairs.repartition(3).window("in parts", length, slide);
            window.for_each_batch("out of in parts", |_, _| ());
        },
        &[
            ("window", 1, Needs::NextWindow),
            ("in parts", 3, Needs::NextWindow),
        ],
    );
}

/// The same for keys that stop coming.
#[test]
fn a_window_of_pairs_keeps_a_key_as_long_as_its_values_are_needed() {
    check_keys(
        |pairs, length, slide| {
            let inverse = pairs.reduce_by_key_and_window_inverse_with_filter(
                "inverse",
                |a, b| a + b,
                |a, b| a - b,
                length,
                slide,
                |_, total| *total != 0,
            );
            inverse.for_each_batch("out of inverse", |_, _| ());
            let counted = pairs.count_by_value_and_window("counted", length, slide);
            counted.for_each_batch("out of counted", |_, _| ());
            let reduced = pairs.reduce_by_key_and_window("reduced", |a, b| a + b, length, slide);
            reduced.for_each_batch("out of reduced", |_, _| ());
            let grouped = pairs.group_by_key_and_window("grouped", length, slide);
            grouped.for_each_batch("out of grouped", |_, _| ());
        },
        &[
            ("inverse", NEW_KEYS, Needs::LastWindow),
            ("counted", NEW_KEYS, Needs::LastWindow),
            ("reduced", NEW_KEYS, Needs::NextWindow),
            ("grouped", NEW_KEYS, Needs::NextWindow),
        ],
    );
}
