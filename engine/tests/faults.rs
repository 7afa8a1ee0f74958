//! Every disk call failing at its n-th occurrence, once and for ever, in a whole run: no acknowledged line is lost, no
//! batch is counted twice, nothing hangs, nothing panics.
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

use common::world::{World, check, uninterrupted};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};

const CALLS: [Call; 15] = [
    Call::CreateDir,
    Call::List,
    Call::Create,
    Call::Open,
    Call::Rename,
    Call::Link,
    Call::Remove,
    Call::SyncDir,
    Call::Read,
    Call::Write,
    Call::SetLen,
    Call::Allocate,
    Call::Sync,
    Call::MapAppend,
    Call::SyncMap,
];

/// Lives with the fault, then without it on the page cache, then again after a power cut.
fn survive(call: Call, kind: FaultKind, nth: u64, forever: bool) -> bool {
    let (expected, _) = uninterrupted(1);
    let (world, disk) = (World::new(1), SimDisk::new());
    let fault = Fault::new(call, kind).nth(nth);
    disk.fail(if forever { fault.forever() } else { fault });
    let _ = world.live(&disk);
    let fired = disk.faults_fired() > 0;
    disk.clear_faults();
    let what = format!("{call:?} {nth} fails with {kind:?}, forever: {forever}");
    let disk = disk.kill_process();
    world.live(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
    check(&world, &expected, &what);
    disk.cut_power_now();
    let disk = disk.restart_after_power_cut(nth);
    world
        .live(&disk)
        .unwrap_or_else(|e| panic!("{what}, then a power cut: {e}"));
    check(&world, &expected, &what);
    fired
}

fn every_occurrence(kind: FaultKind, forever: bool) {
    for call in CALLS {
        // Far behind the start the occurrences repeat themselves batch by batch, so the steps grow.
        let mut nth = 0;
        while survive(call, kind, nth, forever) {
            nth += 1 + nth / 12;
        }
    }
}

/// F15, F19, F24, F25, F30: once.
#[test]
fn every_call_failing_once_with_eio() {
    every_occurrence(FaultKind::Eio, false);
}

/// F16: for ever.
#[test]
fn every_call_failing_for_ever_with_eio() {
    every_occurrence(FaultKind::Eio, true);
}

/// F21, F22: a full disk, then space again.
#[test]
fn every_call_failing_once_with_enospc() {
    every_occurrence(FaultKind::Enospc, false);
}
