//! Every state within the bounds keeps every invariant.
//!
//! `HIGHWATER_CLUSTER_MODEL=long` makes the bounds larger: some minutes.

use highwater_cluster_model::model::Fault::{self, *};
use highwater_cluster_model::model::{Config, check, circles, explain};
use std::time::Instant;

const ALL: &[Fault] = &[Crash, Pause, Replace, Link, Answer, LogLoss];

/// Two processes with one record each, one batch, one checkpoint retained.
fn bounds(faults: u8, allowed: &[Fault]) -> Config {
    Config {
        processes: 2,
        members: vec![0, 1],
        rescale: None,
        records: vec![1, 1],
        batches: 1,
        in_flight: 1,
        retain: 1,
        late_files: false,
        faults,
        allowed: allowed.to_vec(),
        bug: None,
    }
}

fn three(config: Config) -> Config {
    Config {
        processes: 3,
        members: vec![0, 1, 2],
        records: vec![1, 0, 0],
        ..config
    }
}

fn rescaled(from: &[usize], to: &[usize], config: Config) -> Config {
    Config {
        members: from.to_vec(),
        rescale: Some(to.to_vec()),
        batches: 2,
        ..config
    }
}

fn holds(name: &str, config: &Config) {
    let begun = Instant::now();
    let outcome = check(config, None);
    println!(
        "{name}: {} states, depth {}, {:.1?}",
        outcome.states,
        outcome.depth,
        begun.elapsed()
    );
    if let Some((property, path)) = &outcome.found {
        panic!("{name}: {property:?} is broken\n{}", explain(config, path));
    }
    assert!(
        outcome.states > 1000,
        "{name}: {} states are too few to mean anything",
        outcome.states
    );
}

#[test]
fn all_faults_one_batch() {
    holds("two faults of all kinds, one batch", &bounds(2, ALL));
}

#[test]
fn all_faults_two_batches() {
    let base = bounds(1, ALL);
    holds(
        "one fault of any kind, two batches in flight",
        &Config {
            batches: 2,
            in_flight: 2,
            ..base
        },
    );
}

#[test]
fn late_state_files() {
    let base = bounds(1, ALL);
    holds(
        "one fault, late state files",
        &Config {
            batches: 2,
            late_files: true,
            records: vec![1, 0],
            ..base
        },
    );
}

#[test]
fn crashes_and_lost_answers() {
    let base = bounds(2, &[Crash, Answer]);
    holds(
        "two crashes or lost answers, two batches",
        &Config {
            batches: 2,
            records: vec![1, 0],
            ..base
        },
    );
}

#[test]
fn three_processes() {
    holds(
        "three processes, one fault",
        &three(bounds(1, &[Crash, Link])),
    );
}

#[test]
fn fewer_processes() {
    let base = bounds(1, &[Crash, Pause, Link, Answer, LogLoss, Rescale]);
    holds("from two processes to one", &rescaled(&[0, 1], &[0], base));
}

#[test]
fn more_processes() {
    let base = bounds(1, &[Crash, Pause, Link, Answer, LogLoss, Rescale]);
    holds("from one process to two", &rescaled(&[0], &[0, 1], base));
}

/// Larger bounds, when asked for.
#[test]
fn long() {
    if std::env::var("HIGHWATER_CLUSTER_MODEL").is_ok_and(|value| value == "long") {
        let base = bounds(2, &[Crash, Replace, Rescale]);
        let rescale = Config {
            records: vec![0, 1],
            ..base
        };
        holds(
            "long: from two processes to one",
            &rescaled(&[0, 1], &[0], rescale.clone()),
        );
        holds(
            "long: from one process to two",
            &rescaled(&[0], &[0, 1], rescale),
        );
        let late = Config {
            late_files: true,
            ..bounds(2, ALL)
        };
        holds("long: two faults, late state files", &late);
        let two = Config {
            batches: 2,
            records: vec![1, 0],
            ..bounds(2, &[Crash, Pause, Replace, Link])
        };
        holds("long: two faults, two batches", &two);
        let retained = Config {
            batches: 3,
            retain: 2,
            records: vec![1, 0],
            ..bounds(1, ALL)
        };
        holds("long: three batches, two checkpoints retained", &retained);
        holds(
            "long: three faults, one batch",
            &bounds(3, &[Crash, Replace, Answer]),
        );
        holds("long: three processes, all faults", &three(bounds(1, ALL)));
    } else {
        println!("skipped: HIGHWATER_CLUSTER_MODEL is not `long`");
    }
}

/// With it, progress in each last state means that every run without further faults comes to an
/// end.
#[test]
fn steps_without_faults_only_go_forward() {
    let one = bounds(1, ALL);
    let rescale = bounds(1, &[Crash, Pause, Link, Answer, LogLoss, Rescale]);
    let two = Config {
        batches: 2,
        in_flight: 2,
        ..bounds(1, &[Crash, Pause])
    };
    let fewer = rescaled(&[0, 1], &[0], rescale);
    for config in [
        &one,
        &two,
        &fewer,
        &Config {
            late_files: true,
            ..one.clone()
        },
    ] {
        let (states, circles) = circles(config);
        println!("{states} states, {circles} on a circle");
        assert_eq!(circles, 0);
    }
}
