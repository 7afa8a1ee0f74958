//! Every disk call failing at its n-th occurrence, once and for ever, in a whole run: no
//! acknowledged line is lost, no batch is counted twice, nothing hangs, nothing panics.
#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]

use crate::common;
use crate::common::world::{World, check, uninterrupted};
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
        // Far from the start the occurrences repeat themselves batch by batch, so the steps grow.
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

/// F30: the engine died of SIGBUS at every start, and named nothing, if a batch to be replayed lay
/// in a bad sector. The start fails with file and offset, leaves all as it was, and comes when the
/// sector can be read again.
#[test]
fn a_bad_sector_in_the_log_is_an_error_at_the_start() {
    use common::{Seen, builder, send, sorted};
    use highwater_engine::wal::{Options, ReadPath, WritePath};
    for (read, write) in [
        (ReadPath::Mapped, WritePath::Direct),
        (ReadPath::Mapped, WritePath::PageCache),
        (ReadPath::Copy, WritePath::Direct),
    ] {
        let disk = SimDisk::new();
        let seen = Seen::default();
        let log = Options::new()
            .segment_size(8 << 10)
            .background(highwater_engine::wal::Background::Inline)
            .progress_interval(4096) // so that opening the log does not read it
            .read_path(read)
            .write_path(write);
        let start = |disk: &SimDisk| {
            let seen = std::sync::Arc::clone(&seen);
            let context = builder(disk, 2)
                .log(log.clone())
                .get_or_create(move |ssc| {
                    common::word_count(ssc).for_each_batch("collect", move |batch, records| {
                        seen.lock().insert(batch.id, records);
                    });
                    Ok(())
                })?;
            context.start()?;
            Ok::<_, highwater_engine::Error>(context)
        };
        let context = start(&disk).unwrap();
        for n in 0..200 {
            send(&context, &format!("line {n} {}", "word ".repeat(20)));
            if n % 100 == 99 {
                context.run_batch().unwrap();
            }
        }
        drop(context);
        let disk = disk.kill_process();
        let expected = seen.lock().clone();
        // In the second segment, which no checkpoint covers and recovery of the log does not read.
        let segment = "/app/log/00000000000000008192.wal";
        disk.break_reads(segment, 4096..4097);
        let error = start(&disk).expect_err("the batch cannot be replayed");
        let text = error.to_string();
        let how = match read {
            ReadPath::Mapped => "cannot read the mapped file",
            _ => "cannot read /",
        };
        for part in [segment, "offset 4096", "os error 5", how] {
            assert!(text.contains(part), "{read:?} {write:?} {part}: {text}");
        }
        let disk = disk.kill_process();
        disk.heal_reads(segment);
        let context = start(&disk).unwrap();
        send(&context, "word");
        context.run_batch().unwrap();
        let total = |seen: &std::collections::BTreeMap<u64, Vec<(String, u64)>>| {
            let (_, last) = seen.last_key_value().unwrap();
            sorted(last)
                .into_iter()
                .find(|(word, _)| word == "word")
                .unwrap()
                .1
        };
        assert_eq!(total(&expected), 4000);
        assert_eq!(total(&seen.lock()), 4001);
    }
}
