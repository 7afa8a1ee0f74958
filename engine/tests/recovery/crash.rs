//! F63: the power cut before every single disk operation of a ten-batch run. What is committed and
//! what is in the state must equal the uninterrupted run's, batch by batch and in the same order.
#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]

use crate::common::panics;
use crate::common::world::{World, check, uninterrupted, uninterrupted_with};
use highwater_engine::Builder;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::wal::{Background, Compression, Lsn, Options, inspect};
use std::sync::Arc;

fn cut_everywhere(workers: usize) {
    cut_everywhere_with(workers, |builder| builder);
}

fn cut_everywhere_with(workers: usize, change: fn(Builder) -> Builder) {
    let (expected, mutations) = uninterrupted_with(workers, change);
    assert!(mutations > 100, "{mutations} mutations");
    assert_eq!(expected, uninterrupted(workers).0);
    for cut in 0..mutations {
        let (mut world, disk) = (World::new(workers), SimDisk::new());
        world.change = change;
        disk.cut_power_before(cut);
        let outcome = world.live(&disk);
        // Behind the last sync of `close` only conveniences follow, which may fail unnoticed.
        assert!(
            outcome.is_err() || cut + 10 >= mutations,
            "the cut before {cut} of {mutations} went unnoticed"
        );
        let what = format!("{workers} workers, power cut before mutation {cut}");
        let disk = disk.restart_after_power_cut(cut);
        world.live(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
        check(&world, &expected, &what);
    }
}

#[test]
fn one_worker_survives_a_power_cut_before_every_disk_operation() {
    cut_everywhere(1);
}

#[test]
fn two_workers_survive_a_power_cut_before_every_disk_operation() {
    cut_everywhere(2);
}

fn compressed(builder: Builder) -> Builder {
    let log = Options::new().compression(Compression::Zstd { level: 1 });
    builder.log(log.segment_size(8 << 10).background(Background::Inline))
}

/// F63, F84 on a log whose batches are compressed: the same results.
#[test]
fn a_compressed_log_survives_a_power_cut_before_every_disk_operation() {
    let (mut world, disk) = (World::new(1), SimDisk::new());
    world.change = compressed;
    world.live(&disk).unwrap();
    let frames = inspect::Log::open(Arc::new(disk), "/app/log").unwrap();
    let small = |frame: &inspect::DumpedFrame| frame.stored_bytes < frame.payload.len();
    let frames = frames.frames(Lsn::ZERO).unwrap().map(Result::unwrap);
    assert!(frames.filter(small).count() > 2, "nothing was compressed");
    cut_everywhere_with(1, compressed);
}

/// F2, F12: recovery is cut as well, before each of its own operations, and the machine comes back
/// with another number of workers each time.
#[test]
fn recovery_survives_power_cuts_of_its_own() {
    let (expected, mutations) = uninterrupted(1);
    for cut in (0..mutations).step_by(7) {
        for again in (0..40).step_by(3) {
            let mut world = World::new(1);
            let disk = SimDisk::new();
            disk.cut_power_before(cut);
            let _ = world.live(&disk);
            let disk = disk.restart_after_power_cut(cut);
            disk.cut_power_before(again);
            world.workers = 2;
            let _ = world.live(&disk);
            // Where the second life was shorter than that, its process is killed instead.
            let disk = if disk.is_alive() {
                disk.kill_process()
            } else {
                disk.restart_after_power_cut(again + 1)
            };
            let what = format!("cut before {cut}, again before {again} of the recovery");
            world.workers = 1;
            world.live(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
            check(&world, &expected, &what);
        }
    }
}

/// The number of workers changes nothing: not even the order of the output.
#[test]
fn results_do_not_depend_on_the_number_of_workers() {
    let (one, _) = uninterrupted(1);
    assert_eq!(one, uninterrupted(2).0);
    assert_eq!(one, uninterrupted(3).0);
}

/// What the matrix finds wrong with an engine that cheats. A panic of an assertion counts: that is
/// how checks object.
fn objections(change: fn(Builder) -> Builder) -> usize {
    let (expected, mutations) = uninterrupted(1);
    let objected = |cut: u64| {
        let lives = std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(1);
            world.change = change;
            let disk = SimDisk::new();
            disk.cut_power_before(cut);
            let _ = world.live(&disk);
            let disk = disk.restart_after_power_cut(cut);
            let recovered = world.live(&disk);
            check(&world, &expected, "a cheat");
            recovered.is_err()
        });
        std::panic::catch_unwind(lives).unwrap_or(true)
    };
    panics::unheard(|| (0..mutations).filter(|cut| objected(*cut)).count())
}

/// The rig is worth something: it objects to each deliberate fault (RELIABILITY finding 9). F54 is
/// the first.
#[test]
fn cheats_are_caught() {
    use highwater_engine::Cheat;
    use highwater_engine::wal::Cheat as LogCheat;
    assert_eq!(
        objections(|builder| builder),
        0,
        "an honest engine gives no cause"
    );
    assert!(objections(|b| b.cheat(Cheat::TruncateBeforeCheckpoint)) > 0);
    assert!(objections(|b| b.cheat(Cheat::PublishBeforeCommit)) > 0);
    assert!(objections(|b| b.cheat(Cheat::RunBeforeCut)) > 0);
    let early_ack = |builder: Builder| {
        let log = Options::new().segment_size(8 << 10);
        let log = log.background(Background::Inline);
        builder.log(log.cheat(LogCheat::AckBeforeSync))
    };
    assert!(objections(early_ack) > 0);
}
