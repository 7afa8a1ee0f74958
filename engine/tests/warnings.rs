//! What the program's log says when something is odd but allowed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod common;
#[path = "../../wal/tests/common/warnings.rs"]
mod warnings;

use common::{builder, open, send};
use highwater_engine::StopMode;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use warnings::Warnings;

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
