//! `update_state_by_key` and `map_with_state` in all their forms, as tables.

use crate::common::builder;
use crate::common::table::{ByKey, INTERVAL_MS, Records, START_MS, Table, records};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    Batch, CheckpointPolicy, DStream, Error, GraphError, KeyState, StateGuard, StateSpec,
    StreamScope, StreamingContext, UpdateSpec, Value,
};
use std::sync::Arc;
use std::time::Duration;

type Pair = (String, u64);

fn pairs(pairs: &[(&str, u64)]) -> Vec<Pair> {
    let owned = |(key, n): &(&str, u64)| ((*key).to_owned(), *n);
    pairs.iter().map(owned).collect()
}

fn sent(of: &[(&str, u64)]) -> [Records; 1] {
    [records::<Pair>("in", pairs(of))]
}

fn input(ssc: &StreamScope) -> DStream<Pair> {
    ssc.input::<Pair>("in")
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Key, value, state after the call, whether it was timing out.
type Seen = (String, (Option<u64>, Option<u64>, bool));

/// Adds to the state; 0 removes it, 1 only looks.
fn adding() -> StateSpec<String, u64, u64, Seen> {
    StateSpec::new(
        |_: &Batch, key: &String, value: Option<u64>, state: &mut KeyState<'_, u64>| {
            match value {
                Some(0) => drop(state.remove()),
                Some(1) | None => {}
                Some(n) => state.update(state.get().copied().unwrap_or(0) + n),
            }
            let seen = (value, state.get().copied(), state.is_timing_out());
            (key.clone(), seen)
        },
    )
}

fn saw(key: &str, value: u64, state: Option<u64>) -> Seen {
    (key.to_owned(), (Some(value), state, false))
}

fn timed_out(key: &str, state: u64) -> Seen {
    (key.to_owned(), (None, Some(state), true))
}

/// With a timeout of two intervals, a key that was last visited in batch n times out in batch
/// n + 3: the first one whose time less the timeout is after that of n.
#[test]
fn a_key_times_out_once_and_any_record_refreshes_it() {
    Table::new(|ssc| {
        let stream = input(ssc).map_with_state_spec("s", adding().timeout(seconds(2)));
        (ByKey((*stream).clone()), ByKey(stream.state_snapshots()))
    })
    .batch(
        sent(&[("a", 2), ("b", 2), ("n", 1)]),
        (
            vec![
                saw("a", 2, Some(2)),
                saw("b", 2, Some(2)),
                saw("n", 1, None),
            ],
            pairs(&[("a", 2), ("b", 2)]),
        ),
    )
    .batch([], (vec![], pairs(&[("a", 2), ("b", 2)])))
    // A look keeps the key, and one that is not there leaves nothing.
    .batch(
        sent(&[("b", 1)]),
        (vec![saw("b", 1, Some(2))], pairs(&[("a", 2), ("b", 2)])),
    )
    .batch([], (vec![timed_out("a", 2)], pairs(&[("b", 2)])))
    .batch(
        sent(&[("a", 5)]),
        (vec![saw("a", 5, Some(5))], pairs(&[("a", 5), ("b", 2)])),
    )
    // In the batch in which it would time out there is a record for it.
    .batch(
        sent(&[("b", 3), ("b", 1)]),
        (
            vec![saw("b", 3, Some(5)), saw("b", 1, Some(5))],
            pairs(&[("a", 5), ("b", 5)]),
        ),
    )
    .batch([], (vec![], pairs(&[("a", 5), ("b", 5)])))
    .batch(
        sent(&[("b", 0)]),
        (vec![saw("b", 0, None), timed_out("a", 5)], vec![]),
    )
    .batch([], (vec![], vec![]))
    .check();
}

/// Otherwise keys that had timed out would come back with each restart, and counts twice.
#[test]
fn a_state_begins_with_its_initial_pairs_once() {
    Table::new(|ssc| {
        let initial = pairs(&[("a", 10), ("b", 20), ("c", 30), ("d", 40)]);
        let spec = adding().initial_state(initial).timeout(seconds(1));
        let stream = input(ssc).map_with_state_spec("s", spec);
        (ByKey((*stream).clone()), ByKey(stream.state_snapshots()))
    })
    .batch(
        sent(&[("a", 2)]),
        (
            vec![saw("a", 2, Some(12))],
            pairs(&[("a", 12), ("b", 20), ("c", 30), ("d", 40)]),
        ),
    )
    .batch(
        sent(&[("b", 0), ("c", 1), ("d", 2)]),
        (
            vec![
                saw("b", 0, None),
                saw("c", 1, Some(30)),
                saw("d", 2, Some(42)),
            ],
            pairs(&[("a", 12), ("c", 30), ("d", 42)]),
        ),
    )
    .batch(
        sent(&[("c", 3)]),
        (
            vec![saw("c", 3, Some(33)), timed_out("a", 12)],
            pairs(&[("c", 33), ("d", 42)]),
        ),
    )
    .batch([], (vec![timed_out("d", 42)], pairs(&[("c", 33)])))
    .batch([], (vec![timed_out("c", 33)], vec![]))
    .check();
}

/// Behind a window an operator has its first batch later than the program. A checkpoint before that
/// said of the keys that they were last visited in 1970: after a restart they timed out at once.
#[test]
fn keys_of_the_beginning_are_visited_by_the_first_batch_of_their_operator() {
    Table::new(|ssc| {
        let windows = input(ssc).window("w", seconds(1), seconds(2));
        let spec = adding().initial_state(pairs(&[("a", 10)]));
        let stream = windows.map_with_state_spec("s", spec.timeout(seconds(2)));
        let ttl = UpdateSpec::new(
            |_: &Batch, _: &String, new: &[u64], sum: &mut StateGuard<u64>| {
                if let Some(new) = new.first() {
                    sum.update(sum.get().copied().unwrap_or(0) + new);
                }
            },
        );
        let ttl = ttl
            .initial_state(pairs(&[("z", 7)]))
            .time_to_live(seconds(2));
        let lives = windows.update_state_by_key_spec("t", ttl);
        (ByKey((*stream).clone()), ByKey(lives))
    })
    .silent([])
    .batch(
        sent(&[("b", 2)]),
        (vec![saw("b", 2, Some(2))], pairs(&[("b", 2), ("z", 7)])),
    )
    .silent([])
    .batch([], (vec![], pairs(&[("b", 2), ("z", 7)])))
    .silent([])
    .batch([], (vec![timed_out("a", 10), timed_out("b", 2)], vec![]))
    .check();
}

#[test]
fn an_update_sees_every_key_in_every_batch_and_its_batch() {
    Table::new(|ssc| {
        let spec = UpdateSpec::new(
            |batch: &Batch, _: &String, new: &[u64], state: &mut StateGuard<(u64, u64)>| {
                let (sum, _) = state.get().copied().unwrap_or_default();
                match new.contains(&0) {
                    true => drop(state.remove()),
                    false => state.update((sum + new.iter().sum::<u64>(), batch.time_ms)),
                }
            },
        );
        let spec = spec.initial_state([("i".to_owned(), (7, 0))]);
        ByKey(input(ssc).update_state_by_key_spec("s", spec))
    })
    .batch(sent(&[("a", 2), ("a", 3)]), at(1, &[("a", 5), ("i", 7)]))
    .batch([], at(2, &[("a", 5), ("i", 7)]))
    .batch(sent(&[("i", 0), ("b", 1)]), at(3, &[("a", 5), ("b", 1)]))
    .batch(sent(&[("i", 1)]), at(4, &[("a", 5), ("b", 1), ("i", 1)]))
    .check();
}

fn at(batch: u64, of: &[(&str, u64)]) -> Vec<(String, (u64, u64))> {
    let time = START_MS + batch * INTERVAL_MS;
    let pairs = pairs(of).into_iter();
    pairs.map(|(key, n)| (key, (n, time))).collect()
}

/// A key without values for longer than its time to live is gone before the function could see it.
#[test]
fn keys_live_as_long_as_they_are_told_to() {
    let program = |ssc: &StreamScope| {
        let sum = |_: &Batch, _: &String, new: &[u64], state: &mut StateGuard<u64>| {
            let sum = state.get().copied().unwrap_or(0) + new.iter().sum::<u64>();
            state.update(sum + u64::from(new.is_empty()) * 100);
        };
        let (input, spec) = (input(ssc), || UpdateSpec::new(sum).time_to_live(seconds(1)));
        (
            ByKey(input.update_state_by_key_spec("every", spec())),
            ByKey(input.update_state_by_key_spec("changed", spec().changed_keys_only())),
        )
    };
    Table::new(program)
        .batch(
            sent(&[("a", 1), ("b", 2)]),
            (pairs(&[("a", 1), ("b", 2)]), pairs(&[("a", 1), ("b", 2)])),
        )
        .batch(
            sent(&[("b", 3)]),
            (pairs(&[("a", 101), ("b", 5)]), pairs(&[("b", 5)])),
        )
        .batch([], (pairs(&[("b", 105)]), vec![]))
        .batch(
            sent(&[("a", 4), ("b", 1)]),
            // The values of the batch keep "b", which would have been gone.
            (pairs(&[("a", 4), ("b", 106)]), pairs(&[("a", 4), ("b", 6)])),
        )
        .batch([], (pairs(&[("a", 104), ("b", 206)]), vec![]))
        .batch(
            sent(&[("b", 1)]),
            (pairs(&[("b", 207)]), pairs(&[("b", 7)])),
        )
        .check();
}

/// A hot key, several values of a key in one batch, and a state that was only looked at.
#[test]
fn a_guard_and_an_option_do_the_same() {
    let program = |ssc: &StreamScope| {
        let input = input(ssc);
        let guarded = input.update_state_by_key("g", |_, new, state: &mut StateGuard<u64>| {
            for n in new {
                match n {
                    0 => drop(state.remove()),
                    1 => {}
                    n if state.exists() => drop(state.modify(|state| *state = *state * 3 + n)),
                    n => *state.get_or_insert_with(|| 0) += n,
                }
            }
        });
        let plain = input.update_state_by_key("o", |_, new, state: &mut Option<u64>| {
            for n in new {
                *state = match (n, *state) {
                    (0, _) => None,
                    (1, state) => state,
                    (n, state) => Some(state.map_or(*n, |state| state * 3 + n)),
                }
            }
        });
        (ByKey(guarded), ByKey(plain))
    };
    let both = |of: &[(&str, u64)]| (pairs(of), pairs(of));
    Table::new(program)
        .batch(
            sent(&[("h", 2), ("h", 3), ("a", 1), ("h", 0), ("h", 5), ("b", 4)]),
            both(&[("b", 4), ("h", 5)]),
        )
        .batch([], both(&[("b", 4), ("h", 5)]))
        .batch(sent(&[("b", 0), ("h", 2)]), both(&[("h", 17)]))
        .batch(sent(&[("b", 7), ("h", 1)]), both(&[("b", 7), ("h", 17)]))
        .check();
}

/// How many records a stream has in its partitions, and whether one is empty.
type Sizes = (u64, bool);

fn sizes<T: Value>(stream: &DStream<T>) -> DStream<Sizes> {
    let sizes = stream.map_partitions(|part| [part.len() as u64]);
    sizes.transform(|sizes, _| vec![(sizes.iter().sum(), sizes.contains(&0))])
}

/// Where only one of the two has records in a key group, the other has no partition there.
#[test]
fn reading_the_snapshots_does_not_change_the_partitions_of_the_results() {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let ten: Vec<(&str, u64)> = keys.into_iter().zip(2..).collect();
    let looks: Vec<(&str, u64)> = keys.into_iter().map(|key| (key, 1)).collect();
    Table::new(|ssc| {
        let input = input(ssc);
        let unread = input.map_with_state_spec("unread", adding());
        let read = input.map_with_state_spec("read", adding());
        let snapshots = read.state_snapshots();
        // Whether the partitions are the same, how many there are up to three, and if one is empty.
        let partitions = unread
            .glom()
            .transform_with(&read.glom(), |unread, read, _| {
                let has_empty = read.iter().any(Vec::is_empty);
                vec![(unread == read, read.len().min(3), has_empty)]
            });
        (partitions, (sizes(&read), sizes(&snapshots)))
    })
    .batch(
        sent(&looks),
        (
            vec![(true, 3, false)],
            (vec![(10, false)], vec![(0, false)]),
        ),
    )
    .batch(
        sent(&ten),
        (
            vec![(true, 3, false)],
            (vec![(10, false)], vec![(10, false)]),
        ),
    )
    .batch(
        sent(&[("a", 5), ("a", 1)]),
        (
            vec![(true, 1, false)],
            (vec![(2, false)], vec![(10, false)]),
        ),
    )
    .batch(
        [],
        (
            vec![(true, 0, false)],
            (vec![(0, false)], vec![(10, false)]),
        ),
    )
    .batch(
        sent(&[("j", 0)]),
        (vec![(true, 1, false)], (vec![(1, false)], vec![(9, false)])),
    )
    .check();
}

// ---- what is refused

fn mistakes(program: impl FnOnce(&StreamScope)) -> Vec<String> {
    let built = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        program(ssc);
        Ok(())
    });
    match built {
        Err(Error::Graph(errors)) => errors.0.iter().map(GraphError::to_string).collect(),
        other => panic!("expected graph errors, got {other:?}"),
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused_with_the_operator() {
    let found = mistakes(|ssc| {
        let input = input(ssc);
        let spec = adding().timeout(Duration::ZERO);
        input
            .map_with_state_spec("zero", spec)
            .count()
            .for_each_batch("o", |_, _| ());
        let spec = adding().initial_state(pairs(&[("a", 1), ("b", 2), ("a", 1)]));
        let _ = input.map_with_state_spec("twice", spec);
        let spec = UpdateSpec::new(|_, _: &String, _: &[u64], _: &mut StateGuard<u64>| ());
        let _ = input.update_state_by_key_spec("ttl", spec.time_to_live(Duration::ZERO));
    });
    assert_eq!(
        found,
        [
            "map_with_state \"zero\": a timeout of 0: give a positive duration",
            "map_with_state \"twice\": its initial state has the key \"a\" twice",
            "update_state_by_key \"ttl\": a time to live of 0: give a positive duration",
        ]
    );
}

/// Runs `batches`; the error of the last one.
fn failure(
    spec: StateSpec<String, u64, u64, ()>,
    batches: &[&[(&str, u64)]],
) -> (String, StreamingContext) {
    let clock = Arc::new(ManualClock::new(START_MS));
    let builder = builder(&SimDisk::new(), 2).clock(Arc::<ManualClock>::clone(&clock));
    let context = builder.get_or_create(|ssc| {
        let spec = spec.timeout(seconds(1));
        let mapped = input(ssc).map_with_state_spec("sessions", spec);
        mapped.count().for_each_batch("n", |_, _: Vec<u64>| ());
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    let input = context.input::<Pair>("in").unwrap();
    for (number, batch) in (1..).zip(batches) {
        for pair in pairs(batch) {
            input.send(&pair).unwrap().wait().unwrap();
        }
        clock.advance(seconds(1));
        let ran = context.run_batch();
        if number == batches.len() {
            return (ran.unwrap_err().to_string(), context);
        }
        ran.unwrap();
    }
    panic!("no batch")
}

/// What a function does with a state.
type Move = fn(&mut KeyState<'_, u64>);

/// They would be lost without a word: the state is deleted after the call, or was just deleted.
#[test]
fn illegal_moves_fail_the_batch_with_operator_and_key() {
    let moves: [(Move, &str); 3] = [
        (
            |state| {
                state.remove();
                state.update(1);
            },
            "it updated a state after it had removed it",
        ),
        (
            |state| {
                state.remove();
                state.remove();
            },
            "it removed a state twice in one call",
        ),
        (
            |state| {
                state.remove();
                assert_eq!(state.modify(|_| ()), None);
            },
            "it updated a state after it had removed it",
        ),
    ];
    for (illegal, what) in moves {
        let spec = StateSpec::new(
            move |_, _, value, state: &mut KeyState<'_, u64>| match value {
                Some(7) => illegal(state),
                _ => state.update(1),
            },
        );
        let (error, _) = failure(spec, &[&[("k", 1), ("x", 2)], &[("x", 3), ("k", 7)]]);
        assert!(error.contains("map_with_state \"sessions\""), "{error}");
        assert!(
            error.contains("key \"k\"") && error.contains(what),
            "{error}"
        );
    }
    let moves: [(Move, &str); 2] = [
        (
            |state| state.update(1),
            "it updated a state that is timing out",
        ),
        (
            |state| {
                state.remove();
            },
            "it removed a state that is timing out",
        ),
    ];
    for (illegal, what) in moves {
        let spec = StateSpec::new(
            move |_, _, value, state: &mut KeyState<'_, u64>| match value {
                None => illegal(state),
                _ => state.update(1),
            },
        );
        let (error, _) = failure(spec, &[&[("k", 1)], &[], &[]]);
        assert!(
            error.contains("key \"k\"") && error.contains(what),
            "{error}"
        );
    }
}

#[test]
fn states_say_how_many_keys_they_have_and_how_many_have_changed() {
    let disk = SimDisk::new();
    let open = || {
        let builder = builder(&disk, 2).checkpoint(CheckpointPolicy::every_batches(3));
        let context = builder.get_or_create(|ssc| {
            let counts = input(ssc).update_state_by_key("s", |_, new, s: &mut StateGuard<u64>| {
                for n in new {
                    match n {
                        0 => drop(s.remove()),
                        1 => {}
                        n => s.update(*n),
                    }
                }
            });
            counts.for_each_batch("o", |_, _: Vec<Pair>| ());
            Ok(())
        });
        let context = context.unwrap();
        assert_eq!(context.states()[0].name, "s");
        context
    };
    let run = |context: &StreamingContext, of: &[(&str, u64)]| {
        let input = context.input::<Pair>("in").unwrap();
        for pair in pairs(of) {
            input.send(&pair).unwrap().wait().unwrap();
        }
        context.run_batch().unwrap();
        let stats = context.states();
        (stats[0].keys, stats[0].changed_keys)
    };
    let context = open();
    context.start().unwrap();
    assert_eq!(run(&context, &[("a", 2), ("b", 3), ("c", 4)]), (3, 3));
    assert_eq!(run(&context, &[("a", 1), ("n", 1)]), (3, 3), "a look");
    // The checkpoint is taken after this batch, and the next one knows of it.
    assert_eq!(run(&context, &[("d", 5)]), (4, 4));
    assert_eq!(run(&context, &[("a", 1), ("b", 2)]), (4, 1));
    assert_eq!(
        run(&context, &[("b", 0), ("e", 2)]),
        (4, 2),
        "one gone, one new"
    );
    context.stop(highwater_engine::StopMode::Graceful).unwrap();
    drop(context);
    let context = open();
    assert_eq!(context.states()[0].keys, 4, "before the first batch");
    context.start().unwrap();
    assert_eq!(run(&context, &[("a", 7)]), (4, 1));
}
