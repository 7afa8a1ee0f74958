//! More keys than stay in the cache together: then what a batch brings waits, and is brought to its
//! keys group by group. What comes out is what a plain program computes, to the order.
#![allow(clippy::type_complexity, reason = "test code")]

use crate::common::builder;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{DStream, KeyState, StreamScope};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Items wait from 2^18 keys on.
const MANY: u64 = 280_000;

/// Numbers from here, so many, with a value that tells how they came.
type Range = (u64, u64, u64);

fn mixed(state: u64, value: u64) -> u64 {
    state
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(value)
}

/// What an operator emitted in each batch.
type Rows = Arc<Mutex<Vec<Vec<(u64, u64)>>>>;

/// The operators whose arrivals may wait. Each keeps or adds up something that depends on the order
/// of the values of a key.
fn program(ssc: &StreamScope, rows: &BTreeMap<&'static str, Rows>) {
    let collect = |name: &'static str, stream: DStream<(u64, u64)>| {
        let rows = Arc::clone(&rows[name]);
        stream.for_each_batch(name, move |_, records| rows.lock().push(records));
    };
    let ranges = ssc.input::<Range>("ranges");
    let pairs = ranges.flat_map(|(from, count, value)| {
        (from..from + count).map(move |key| (key, mixed(key, value)))
    });
    collect(
        "update",
        pairs.update_state_by_key_changed("update-state", |_, new, state: &mut Option<u64>| {
            *state = Some(new.iter().fold(state.unwrap_or(0), |s, v| mixed(s, *v)));
        }),
    );
    collect(
        "map",
        pairs.map_with_state("map-state", |key, value, state: &mut KeyState<'_, u64>| {
            let next = mixed(state.get().copied().unwrap_or(0), value);
            state.update(next);
            (*key, next)
        }),
    );
    // The first and the last value: associative, and it matters in which order they come.
    let ends = pairs.map_values(|value| (value, value));
    let ends_of = |ends: (u64, u64)| mixed(ends.0, ends.1);
    collect(
        "reduce",
        ends.reduce_by_key(|a, b| (a.0, b.1)).map_values(ends_of),
    );
    let second = Duration::from_secs(1);
    collect(
        "window",
        ends.reduce_by_key_and_window("window-state", |a, b| (a.0, b.1), second, second)
            .map_values(ends_of),
    );
    let borrowed = ranges
        .key_by_ref::<u64, (u64, u64)>(|(from, count, value), out| {
            for key in *from..from + count {
                let value = mixed(key, *value);
                out.emit(&key, (value, value));
            }
        })
        .reduce(|total, more| total.1 = more.1);
    collect("borrowed", borrowed.cloned().map_values(ends_of));
    let kept = borrowed.update_state(
        "borrowed-state",
        |_: &u64, (first, last), state: &mut KeyState<'_, u64>| {
            let before = state.get().copied().unwrap_or(0);
            state.update(mixed(before, mixed(first, last)));
        },
    );
    collect("borrowed-kept", kept.cloned());
    let joined = pairs.join(&pairs.filter(|(key, _)| key % 1000 == 0));
    collect(
        "join",
        joined.map_values(|(left, right)| mixed(left, right)),
    );
}

const NAMES: [&str; 7] = [
    "update",
    "map",
    "reduce",
    "window",
    "borrowed",
    "borrowed-kept",
    "join",
];

/// What each batch brings: many new keys; a few of them again, beside some new ones, several times.
fn batches() -> Vec<Vec<Range>> {
    let mut first: Vec<Range> = (0..MANY / 1000).map(|n| (n * 1000, 1000, n)).collect();
    first.extend((0..60).map(|n| (MANY - 40 * n - 500, 50 + n, 1000 + n)));
    let second = (0..50).map(|n| (n * 5000 + MANY % (n + 1), 40, 2000 + n));
    let again = (0..50).map(|n| (MANY - 100 + n, 60, 3000 + n));
    vec![first, second.chain(again).collect()]
}

fn outputs(workers: usize) -> BTreeMap<&'static str, Vec<Vec<(u64, u64)>>> {
    let rows: BTreeMap<_, Rows> = NAMES.iter().map(|name| (*name, Rows::default())).collect();
    let context = builder(&SimDisk::new(), workers)
        .chunk_bytes(200)
        .batch_interval(Duration::from_secs(1))
        .max_unprocessed_bytes(1 << 30)
        .get_or_create(|ssc| {
            program(ssc, &rows);
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let input = context.input::<Range>("ranges").unwrap();
    for batch in batches() {
        for range in batch {
            let _ = input.send(&range).unwrap();
        }
        context.run_batch().unwrap();
    }
    drop(context);
    let taken = rows
        .into_iter()
        .map(|(name, rows)| (name, std::mem::take(&mut *rows.lock())));
    taken.collect()
}

/// The values of each key in a batch, in order.
fn by_key(batch: &[Range]) -> BTreeMap<u64, Vec<u64>> {
    let mut lists = BTreeMap::<u64, Vec<u64>>::new();
    for (from, count, value) in batch {
        for key in *from..from + count {
            lists.entry(key).or_default().push(mixed(key, *value));
        }
    }
    lists
}

#[test]
fn where_items_wait_each_key_gets_its_values_in_their_order() {
    let outputs_of_one = outputs(1);
    let mut states = BTreeMap::<u64, u64>::new();
    let mut kept = BTreeMap::<u64, u64>::new();
    for (n, batch) in batches().iter().enumerate() {
        let lists = by_key(batch);
        let mut mapped = Vec::new();
        for (key, values) in &lists {
            for value in values {
                let state = states.entry(*key).or_default();
                *state = mixed(*state, *value);
                mapped.push((*key, *state));
            }
        }
        let ends = |list: &Vec<u64>| mixed(list[0], list[list.len() - 1]);
        let all_ends: Vec<_> = lists.iter().map(|(key, list)| (*key, ends(list))).collect();
        for (key, ends) in &all_ends {
            let state = kept.entry(*key).or_default();
            *state = mixed(*state, *ends);
        }
        let touched = |states: &BTreeMap<u64, u64>| {
            lists
                .keys()
                .map(|key| (*key, states[key]))
                .collect::<Vec<_>>()
        };
        let joined = lists.iter().filter(|(key, _)| *key % 1000 == 0);
        let joined = joined.flat_map(|(key, list)| {
            let pairs = list
                .iter()
                .flat_map(|a| list.iter().map(move |b| mixed(*a, *b)));
            pairs.map(|pair| (*key, pair))
        });
        let expected: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::from([
            ("update", touched(&states)),
            ("map", mapped),
            ("reduce", all_ends.clone()),
            ("window", all_ends.clone()),
            ("borrowed", all_ends),
            ("borrowed-kept", touched(&kept)),
            ("join", joined.collect()),
        ]);
        for name in NAMES {
            let mut found = outputs_of_one[name][n].clone();
            // Stable: what one key has stays in its order. Keys come by key group.
            found.sort_by_key(|(key, _)| *key);
            assert!(found == expected[name], "batch {n}: {name}");
        }
    }
    let outputs_of_two = outputs(2);
    for name in NAMES {
        assert!(
            outputs_of_two[name] == outputs_of_one[name],
            "{name}: the order with two workers"
        );
    }
}
