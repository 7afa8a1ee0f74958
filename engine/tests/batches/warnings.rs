//! What the program's log says when something is odd but allowed.

use crate::captured::Warnings;
use crate::common;
use crate::common::{builder, open, send};
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{Builder, CheckpointPolicy, ContextEvent, StopMode, wal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// F48: a wall clock that parts from batch time is told once, not with every batch, and again when
/// it parts further.
#[test]
fn a_wall_clock_that_is_set_is_told_once_for_each_distance() {
    let (disk, seen) = (SimDisk::new(), common::Seen::default());
    let clock = Arc::new(ManualClock::new(1_795_000_000_000));
    let told = Warnings::during(|| {
        let context = builder(&disk, 1)
            .clock(Arc::<ManualClock>::clone(&clock))
            .get_or_create(|ssc| {
                common::word_count(ssc).for_each_batch("out", |_, _| ());
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        for wall in [
            None,
            Some(4_294_967_296_000),
            None,
            None,
            Some(1_795_000_004_000),
            None,
        ] {
            wall.into_iter().for_each(|wall| clock.set_wall_ms(wall));
            context.run_batch().unwrap();
            clock.advance(Duration::from_secs(1));
        }
    });
    let clocks: Vec<_> = told.iter().filter(|t| t.contains("batch time")).collect();
    assert_eq!(clocks.len(), 1, "{told:?}");
    assert!(
        clocks.iter().all(|t| t.contains("reset_batch_clock()")),
        "{told:?}"
    );

    // A start with batch times in the future.
    let told = Warnings::during(|| {
        clock.set_wall_ms(1_700_000_000_000);
        let context = open(&disk, 1, &seen).unwrap();
        context.start().unwrap();
        context.run_batch().unwrap();
    });
    assert!(
        told.iter().any(|t| t.contains("ahead of the wall clock")),
        "{told:?}"
    );
}

#[derive(Clone, Serialize, Deserialize, Default)]
struct Old {
    spent: u64,
}

#[derive(Clone, Serialize, Deserialize, Default)]
struct New {
    #[serde(default)]
    spent_cents: u64,
}

/// A field that was renamed with a default was zero after the restart, and nothing said so.
#[test]
fn fields_and_keys_that_a_new_type_changes_are_told_and_reported() {
    let disk = SimDisk::new();
    let context = builder(&disk, 1)
        .get_or_create(|ssc| {
            ssc.input::<String>("lines")
                .map(|line: String| (line, 500_u64))
                .update_state_by_key("budget", |_, new: &[u64], state: &mut Option<Old>| {
                    state.get_or_insert_default().spent += new.iter().sum::<u64>();
                })
                .for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    ["a", "b", "c", "d", "e"]
        .iter()
        .for_each(|key| send(&context, key));
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let told = Warnings::during(|| {
        let context = builder(&disk, 1)
            .get_or_create(|ssc| {
                ssc.input::<String>("lines")
                    .map(|line: String| (Some(line), 500_u64))
                    .update_state_by_key("budget", |_, new: &[u64], state: &mut Option<New>| {
                        state.get_or_insert_default().spent_cents += new.iter().sum::<u64>();
                    })
                    .for_each_batch("out", |_, _| ());
                Ok(())
            })
            .unwrap();
        let report = context.recovered();
        assert_eq!(report.states.len(), 1);
        let state = &report.states[0];
        assert_eq!((&*state.name, state.keys), ("budget", 5));
        assert!(state.moved_keys > 0, "{state:?}");
        assert_eq!(state.ignored_fields, ["value: spent"]);
    });
    let part = |part: &str| {
        told.iter()
            .any(|t| t.contains(part) && t.contains("budget"))
    };
    assert!(part("keys of a changed type were moved"), "{told:?}");
    assert!(part("value: spent") && part("serde(alias"), "{told:?}");
}

#[test]
fn a_source_that_is_dropped_is_told_with_what_goes() {
    let (disk, seen) = (SimDisk::new(), common::Seen::default());
    let context = open(&disk, 1, &seen).unwrap();
    context.start().unwrap();
    let input = context.input::<String>("lines").unwrap();
    input
        .send_once("p", 7, &"a".to_owned())
        .unwrap()
        .wait()
        .unwrap();
    drop((context, input));
    let told = Warnings::during(|| {
        builder(&disk, 1)
            .drop_source("lines")
            .get_or_create(|ssc| {
                ssc.input::<u64>("other").for_each_batch("out", |_, _| ());
                Ok(())
            })
            .unwrap();
    });
    assert!(
        told.iter()
            .any(|t| t.contains("lines") && t.contains("records=1") && t.contains("positions=1")),
        "{told:?}"
    );
}

/// A context with one state and a checkpoint after every `every`-th batch, run for `batches`.
fn run_with(every: u64, batches: u64, change: impl FnOnce(Builder) -> Builder) -> Vec<String> {
    let disk = SimDisk::new();
    Warnings::during(|| {
        let builder = builder(&disk, 1).checkpoint(CheckpointPolicy::every_batches(every));
        let context = change(builder)
            .get_or_create(|ssc| {
                common::word_count(ssc).for_each_batch("out", |_, _| ());
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        for _ in 0..batches {
            send(&context, "a");
            context.run_batch().unwrap();
        }
    })
}

fn count(told: &[String], part: &str) -> usize {
    told.iter().filter(|told| told.contains(part)).count()
}

#[test]
fn a_checkpoint_after_every_batch_and_one_that_never_comes_are_told_at_the_start() {
    let told = run_with(1, 3, |builder| builder);
    assert_eq!(count(&told, "not above the batch interval"), 1, "{told:?}");
    assert_eq!(count(&told, "every_batches(n)"), 1, "{told:?}");
    let told = run_with(3601, 3, |builder| builder);
    assert_eq!(count(&told, "practically never"), 1, "{told:?}");
    let told = run_with(4, 3, |builder| builder);
    assert_eq!(count(&told, "after every few batches"), 1, "{told:?}");
    for fits in [5, 10, 3600] {
        let told = run_with(fits, 3, |builder| builder);
        assert_eq!(told, [] as [String; 0]);
    }
    // Without ticks it is not known how long that is.
    let told = run_with(10, 3, |builder| builder.batch_interval(Duration::MAX));
    assert_eq!(told, [] as [String; 0]);
}

#[test]
fn a_checkpoint_slower_than_its_interval_is_told() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    for (seconds, expected) in [(3, 1), (2, 0)] {
        let (run_by, slow) = (Arc::clone(&clock), Arc::clone(&clock));
        let told = run_with(2, 2, |builder| {
            builder.clock(run_by).listener(move |event| {
                if matches!(event, ContextEvent::CheckpointStarted { .. }) {
                    slow.advance(Duration::from_secs(seconds));
                }
            })
        });
        let slower = count(&told, "took longer than its interval");
        assert_eq!(slower, expected, "{told:?}");
    }
}

/// Checkpoints fail: each failure is told, and once that what would be replayed is too much.
#[test]
fn a_lineage_over_its_bound_is_told_once_until_a_checkpoint_cuts_it() {
    let disk = SimDisk::new();
    let told = Warnings::during(|| {
        let context = builder(&disk, 1)
            .checkpoint(CheckpointPolicy::every_batches(2))
            .get_or_create(|ssc| {
                common::word_count(ssc).for_each_batch("out", |_, _| ());
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        for round in 0..2 {
            let fault = Fault::new(Call::Create, FaultKind::Enospc).on("checkpoints");
            disk.fail(fault.forever());
            for _ in 0..12 {
                context.run_batch().unwrap();
            }
            disk.clear_faults();
            for _ in 0..4 {
                context.run_batch().unwrap();
            }
            assert!(context.checkpoints().published > round);
        }
    });
    assert_eq!(count(&told, "lineage is over its bound"), 2, "{told:?}");
    assert_eq!(count(&told, "last_error"), 2, "{told:?}");
}

/// A key that has most values is told of once, with several workers: one of them does its work.
#[test]
fn a_hot_key_is_told_of_and_not_with_every_batch() {
    for (workers, values, expected) in [(2, 120_000_u64, 1), (2, 90_000, 0), (1, 120_000, 0)] {
        let disk = SimDisk::new();
        let told = Warnings::during(|| {
            let log = wal::Options::new().segment_size(16 << 20);
            let context = builder(&disk, workers)
                .log(log.background(wal::Background::Inline))
                .get_or_create(|ssc| {
                    let pairs = ssc.input::<(String, u64)>("pairs");
                    let count = |_: &String, new: &[u64], n: &mut Option<u64>| {
                        *n = Some(n.unwrap_or(0) + new.len() as u64);
                    };
                    let counts = pairs.update_state_by_key("counts", count);
                    counts.for_each_batch("out", |_, _| ());
                    Ok(())
                })
                .unwrap();
            context.start().unwrap();
            let input = context.input::<(String, u64)>("pairs").unwrap();
            for _ in 0..2 {
                let hot = |n| (format!("key {}", if n % 9 == 0 { n } else { 7 }), n);
                let pairs: Vec<(String, u64)> = (0..values * 9 / 8).map(hot).collect();
                for frame in pairs.chunks(10_000) {
                    input.send_all(frame).unwrap().wait().unwrap();
                }
                context.run_batch().unwrap();
            }
        });
        let hot: Vec<_> = told.iter().filter(|t| t.contains("hot key")).collect();
        assert_eq!(hot.len(), expected, "{workers} workers, {values}: {told:?}");
        for what in hot {
            assert!(
                what.contains("key 7") && what.contains("\"counts\""),
                "{what}"
            );
            assert!(what.contains("reduce_by_key"), "{what}");
        }
    }
}
