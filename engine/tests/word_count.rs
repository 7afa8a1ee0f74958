//! The whole path on the simulated disk: input, log, batches, state, checkpoint, recovery.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]

mod common;

use common::{open, send, sorted};
use highwater_engine::StopMode;
use highwater_engine::wal::disk::SimDisk;

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
