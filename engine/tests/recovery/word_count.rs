//! The whole path on the simulated disk: input, log, batches, state, checkpoint, recovery.
#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]

use crate::common;
use crate::common::{open, send, sorted};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{Builder, CheckpointPolicy, StopMode};

#[test]
fn counts_continue_after_a_graceful_stop() {
    for workers in [1, 2] {
        let disk = SimDisk::new();
        let seen = common::Seen::default();
        let context = open(&disk, workers, &seen).unwrap();
        context.start().unwrap();
        send(&context, "to be or not to be");
        let first = context.run_batch().unwrap();
        assert_eq!(
            sorted(&seen.lock()[&first.id]),
            pairs(&[("be", 2), ("not", 1), ("or", 1), ("to", 2)])
        );
        context.stop(StopMode::Graceful).unwrap();
        drop(context);

        let context = open(&disk, workers, &seen).unwrap();
        context.start().unwrap();
        send(&context, "be quick");
        let batch = context.run_batch().unwrap();
        assert_eq!(
            sorted(&seen.lock()[&batch.id]),
            pairs(&[("be", 3), ("not", 1), ("or", 1), ("quick", 1), ("to", 2)])
        );
    }
}

#[test]
fn batches_are_replayed_from_the_log_after_a_kill() {
    let disk = SimDisk::new();
    let seen = common::Seen::default();
    let context = open(&disk, 1, &seen).unwrap();
    context.start().unwrap();
    for i in 0..7 {
        send(&context, &format!("word{} all", i % 3));
        context.run_batch().unwrap();
    }
    let before = seen.lock()[&7].clone();
    send(&context, "acknowledged but in no batch");
    let disk = disk.kill_process();
    drop(context);

    let context = open(&disk, 2, &seen).unwrap();
    println!("{}", context.lineage());
    context.start().unwrap();
    let batch = context.run_batch().unwrap();
    let after = seen.lock()[&batch.id].clone();
    assert_eq!(batch.id, 8);
    assert_eq!(&after[..0], &before[..0]);
    assert_eq!(
        sorted(&after).iter().find(|(w, _)| w == "all"),
        Some(&("all".to_owned(), 7))
    );
    assert_eq!(
        sorted(&after).iter().find(|(w, _)| w == "acknowledged"),
        Some(&("acknowledged".to_owned(), 1))
    );
}

fn pairs(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter().map(|(w, n)| ((*w).to_owned(), *n)).collect()
}

/// F12: a program that never lives long enough for its n-th batch still gets checkpoints, because
/// few large batches count as many small ones; otherwise it would replay ever more.
#[test]
fn long_batches_make_a_checkpoint_due_before_the_policy_does() {
    let disk = SimDisk::new();
    let context = common::builder(&disk, 1)
        .checkpoint(highwater_engine::CheckpointPolicy::every_batches(1_000))
        .max_batch_bytes(10_000)
        .max_unprocessed_bytes(16 << 10)
        .get_or_create(|ssc| {
            common::word_count(ssc).for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    send(&context, "short");
    context.run_batch().unwrap();
    assert_eq!(context.checkpoints().published, 0);
    for _ in 0..20 {
        send(&context, &"long ".repeat(200));
        context.run_batch().unwrap();
    }
    assert!(context.checkpoints().published > 0, "{}", context.lineage());
}

/// F66: a replay takes checkpoints too. So one that is interrupted again and again gets on, instead
/// of beginning anew each time.
#[test]
fn a_replay_that_is_interrupted_keeps_its_progress() {
    const BATCHES: u64 = 30;
    let (disk, seen) = (SimDisk::new(), common::Seen::default());
    let rarely = |b: Builder| b.checkpoint(CheckpointPolicy::every_batches(1000));
    let open = |disk: &SimDisk, change: fn(Builder) -> Builder, seen: &common::Seen| {
        let seen = std::sync::Arc::clone(seen);
        change(common::builder(disk, 2)).get_or_create(move |ssc| {
            common::word_count(ssc).for_each_batch("out", move |batch, counts| {
                seen.lock().insert(batch.id, counts);
            });
            Ok(())
        })
    };
    let context = open(&disk, rarely, &seen).unwrap();
    context.start().unwrap();
    for n in 0..BATCHES {
        send(&context, &format!("all n{}", n % 3));
        context.run_batch().unwrap();
    }
    drop(context);
    let whole = disk.snapshot();
    open(&whole, |b| b, &seen).unwrap().start().unwrap();
    let mut left = Vec::new();
    for cut in 0..whole.mutations() {
        let disk = disk.snapshot();
        disk.cut_power_before(cut);
        let _ = open(&disk, |b| b, &seen).and_then(|context| context.start().map(drop));
        let disk = disk.restart_after_power_cut(cut);
        let seen = common::Seen::default();
        let context = open(&disk, |b| b, &seen).unwrap();
        left.push(context.recovered().batches_to_replay);
        context.start().unwrap();
        let last = context.run_batch().unwrap();
        let expected = [("all", BATCHES), ("n0", 10), ("n1", 10), ("n2", 10)];
        assert_eq!(
            sorted(&seen.lock()[&last.id]),
            pairs(&expected),
            "cut {cut}"
        );
    }
    // What a manifest that was not synced is worth is up to the disk: one checkpoint more or less.
    let mut best = BATCHES;
    for left in &left {
        assert!(*left <= best + 3, "{left} batches, after {best}");
        best = best.min(*left);
    }
    assert_eq!(left.first(), Some(&BATCHES), "{left:?}");
    assert!(left.last() < Some(&4), "{left:?}");
    left.dedup();
    assert!(left.len() > 5, "{left:?}");
}
