//! Disk calls that fail: no acknowledgement is lost, nobody hangs, nothing panics.

use crate::common::model::{Op, PATHS, World};
use crate::common::{contents, options, payloads};
use crate::saved_seeds;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, DiskError, SimDisk};
use highwater_wal::layout::segment_name;
use highwater_wal::{Background, Cheat, Lsn, Options, Wal, WalError, WritePath};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn on(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    options().disk(disk)
}

/// The kinds of failure that make sense for a call.
fn kinds(call: Call) -> &'static [FaultKind] {
    match call {
        Call::Write => &[
            FaultKind::Eio,
            FaultKind::Enospc,
            FaultKind::Short,
            FaultKind::Eintr,
        ],
        Call::Read => &[FaultKind::Eio, FaultKind::Short, FaultKind::Eintr],
        Call::Create | Call::SetLen | Call::Allocate => &[
            FaultKind::Eio,
            FaultKind::Enospc,
            FaultKind::Emfile,
            FaultKind::Erofs,
        ],
        Call::Open => &[FaultKind::Eio, FaultKind::Emfile, FaultKind::Eacces],
        Call::MapAppend | Call::MapRead => &[FaultKind::Enomem, FaultKind::Enospc],
        Call::Sync | Call::SyncMap | Call::SyncDir => &[
            FaultKind::Eio,
            FaultKind::Eintr,
            FaultKind::Edquot,
            FaultKind::Enospc,
        ],
        _ => &[FaultKind::Eio],
    }
}

fn program() -> Vec<Op> {
    let mut program = Vec::new();
    for round in 0..8_usize {
        for thread in 0..3 {
            program.push(Op::Append { thread, size: 900 });
        }
        program.extend([Op::SyncTo { thread: round % 3 }, Op::Read]);
        if round % 3 == 2 {
            program.extend([Op::Truncate { percent: 90 }, Op::Reopen]);
        }
    }
    program
}

/// F15-F30: every call fails at its n-th occurrence, once and for ever, until no such occurrence is
/// left.
#[test]
fn every_call_failing_at_every_occurrence_keeps_the_promises() {
    let mut fired = 0;
    for call in Call::ALL {
        for kind in kinds(call) {
            for forever in [false, true] {
                for path in PATHS {
                    let fault = Fault::new(call, *kind);
                    let fault = if forever { fault.forever() } else { fault };
                    fired += fail_everywhere(path, &fault);
                }
            }
        }
    }
    assert!(fired > 1000, "{fired}");
}

/// Has `fault` strike at every occurrence of its call; tells how many there were.
fn fail_everywhere(path: WritePath, fault: &Fault) -> u64 {
    for nth in 0.. {
        let mut world = World::new(Cheat::None, path).lenient();
        world.sim.fail(fault.clone().nth(nth));
        let what = format!("{path:?} {fault:?} {nth}");
        let struck = world
            .run_lenient(&program())
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        world.reboot(nth).unwrap_or_else(|e| panic!("{what}: {e}"));
        if !struck {
            return nth;
        }
    }
    unreachable!("a program has an end")
}

/// F15, F16, F18: every thread that waits when a sync fails gets the error, and so does each that
/// comes later.
#[test]
fn every_waiter_gets_the_error_and_none_hangs() {
    for nth in 0..12 {
        for fault in [
            Fault::new(Call::SyncMap, FaultKind::Eio),
            Fault::new(Call::SyncMap, FaultKind::Eintr).forever(),
        ] {
            let sim = SimDisk::new();
            let log = Wal::open_with("/log", on(&sim)).unwrap();
            sim.fail(fault.nth(nth));
            let acked = commit_until_poisoned(&log);
            let error = log.append("late").unwrap_err();
            assert!(
                matches!(&error, WalError::Poisoned { path, .. } if path.starts_with("/log")),
                "{error}"
            );
            assert!(log.sync().is_err() && log.close().is_err());
            sim.cut_power_now();
            drop(log);
            let sim = sim.restart_after_power_cut(nth);
            let log = Wal::open_with("/log", on(&sim)).unwrap();
            let shown = contents(&log);
            for record in acked {
                assert!(shown.contains(&record), "an acknowledged record is gone");
            }
        }
    }
}

/// A segment is mapped before it gets its name; the error named a file that was not there any more.
#[test]
fn a_failed_sync_names_the_file_as_it_is_called_now() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim).background(Background::Inline)).unwrap();
    for _ in 0..40 {
        let _ = log.append([1; 1000]).unwrap();
    }
    log.sync().unwrap();
    sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    let lsn = log.append("x").unwrap();
    let error = log.sync_to(lsn).unwrap_err().to_string();
    let tail = sim.files().into_iter().filter_map(|path| {
        let base = path.file_stem()?.to_str()?.parse::<u64>().ok()?;
        (base <= lsn.get()).then_some((base, path))
    });
    let tail = tail.max().unwrap().1;
    let named = tail.to_str().unwrap();
    let files = error.matches(".wal").count();
    assert!(
        files > 0 && error.matches(named).count() == files,
        "{error}"
    );
    assert!(!error.contains(".tmp"), "{error}");
}

/// F15: seven committers, a tail and a watch all wait for the sync that fails; each of them is
/// told.
#[test]
fn everybody_who_waits_for_the_failing_sync_is_told() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim).cheat(Cheat::LeaderAwaits(7))).unwrap();
    sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    let poisoned = |outcome: Result<(), WalError>| {
        assert!(
            matches!(outcome, Err(WalError::Poisoned { .. })),
            "{outcome:?}"
        );
    };
    std::thread::scope(|scope| {
        let (tail, watch) = (log.tail(Lsn::ZERO).unwrap(), log.watch_durable());
        scope.spawn(move || poisoned(tail.map(|record| record.map(drop)).next().unwrap()));
        scope.spawn(move || poisoned(watch.changed_after(watch.current()).map(drop)));
        for _ in 0..8 {
            scope.spawn(|| poisoned(log.append("x").and_then(|lsn| log.sync_to(lsn))));
        }
    });
}

/// Eight threads append and wait until the log refuses. Returns what was acknowledged.
fn commit_until_poisoned(log: &Wal) -> Vec<Vec<u8>> {
    let worker = |thread: u32| {
        let mut acked = Vec::new();
        for n in 0.. {
            let record = format!("{thread}/{n}").into_bytes();
            match log.append(&record).and_then(|lsn| log.sync_to(lsn)) {
                Ok(()) => acked.push(record),
                Err(WalError::Poisoned { .. }) => return acked,
                Err(other) => panic!("{other}"),
            }
        }
        acked
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| scope.spawn(move || worker(thread)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// F4 with real threads: the power goes off at each of many calls while eight threads commit
/// through rotations.
#[test]
fn threads_lose_nothing_acknowledged_at_a_power_cut() {
    for cut in 0..120 {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", on(&sim).segment_size(8 << 10)).unwrap();
        sim.cut_power_before(sim.mutations() + cut);
        let acked: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let commit = |thread: usize| {
                let mut acked = Vec::new();
                for n in 0_usize.. {
                    let mut record = format!("{thread}/{n}/").into_bytes();
                    record.resize(record.len() + n % 5 * 60, b'.');
                    match log.append(&record).and_then(|lsn| log.sync_to(lsn)) {
                        Ok(()) => acked.push(record),
                        Err(_) => break,
                    }
                }
                acked
            };
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || commit(n))).collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        drop(log);
        for seed in saved_seeds::seeds(0..4) {
            let sim = sim.restart_after_power_cut(seed);
            let log = Wal::open_with("/log", on(&sim).segment_size(8 << 10)).unwrap();
            let shown = contents(&log);
            for record in &acked {
                assert_eq!(
                    shown.iter().filter(|r| *r == record).count(),
                    1,
                    "cut {cut}"
                );
            }
        }
    }
}

/// F14: a leader that panics poisons the log; the others get the error.
#[test]
fn a_leader_that_panics_poisons_the_log() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim).cheat(Cheat::LeaderPanics)).unwrap();
    let panics = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let wait = || log.append("x").and_then(|lsn| log.sync_to(lsn));
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait)) {
                    Err(_) => {
                        panics.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(outcome) => assert!(
                        matches!(outcome, Err(WalError::Poisoned { .. })),
                        "{outcome:?}"
                    ),
                }
            });
        }
    });
    assert_eq!(
        panics.load(Ordering::Relaxed),
        1,
        "one leader, and none after it"
    );
    // It named the directory, and an LSN as an offset.
    let error = log.sync().unwrap_err();
    let first = Path::new("/log").join(segment_name(Lsn::ZERO));
    assert!(
        matches!(&error, WalError::Poisoned { path, offset: 4096, .. } if *path == first),
        "{error}"
    );
}

/// An error names the call that failed, the file, and the place in it. A failed direct write was
/// called a failed sync of a map, a file that could not be opened one that could not be mapped.
#[test]
fn an_error_names_the_call_that_failed_and_its_place() {
    let poisoned = |path, call, kind| {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", on(&sim).write_path(path)).unwrap();
        let lsn = log.append("a").unwrap();
        log.sync_to(lsn).unwrap();
        sim.fail(Fault::new(call, kind));
        let lost = log.append("b").unwrap();
        (log.sync_to(lost).unwrap_err(), lost)
    };
    for (path, call, words) in [
        (
            WritePath::Direct,
            Call::WriteDirect,
            "cannot write past the page cache to /log/",
        ),
        (
            WritePath::Direct,
            Call::SyncMap,
            "cannot write past the page cache to /log/",
        ),
        (
            WritePath::PageCache,
            Call::SyncMap,
            "cannot sync the map of /log/",
        ),
    ] {
        let (error, _) = poisoned(path, call, FaultKind::Eio);
        assert!(error.to_string().contains(words), "{error}");
        let WalError::Poisoned { source, offset, .. } = &error else {
            panic!("{error}");
        };
        let failed = DiskError::of(source).unwrap();
        let expected = match path {
            WritePath::Direct => Call::WriteDirect,
            _ => Call::SyncMap,
        };
        assert_eq!(failed.call(), expected);
        assert_eq!(error.offset(), Some(*offset));
    }
    for (fault, words) in [
        (
            Fault::new(Call::Open, FaultKind::Emfile).on(".wal"),
            "opening \"/log/",
        ),
        (
            Fault::new(Call::Len, FaultKind::Eio).on(".wal"),
            "measuring \"/log/",
        ),
        (
            Fault::new(Call::MapAppendDirect, FaultKind::Eio),
            "preparing to append to \"/log/",
        ),
        (
            Fault::new(Call::Read, FaultKind::Eio).on(".wal"),
            "reading at offset 0 of \"/log/",
        ),
    ] {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", on(&sim)).unwrap();
        let _ = log.append("a").unwrap();
        drop(log);
        let call = fault.call;
        sim.fail(fault);
        let error = Wal::open_with("/log", on(&sim)).unwrap_err();
        assert!(error.to_string().starts_with(words), "{error}");
        let WalError::Io { source, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(DiskError::of(source).unwrap().call(), call, "{error}");
    }
}

/// F21, F22: a full disk refuses records, keeps what it has, and resumes when there is space.
#[test]
fn a_full_disk_refuses_and_resumes() {
    for background in [Background::Inline, Background::Thread] {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", on(&sim).background(background)).unwrap();
        sim.set_capacity(Some(sim.used_bytes() + (40 << 10)));
        let mut written = Vec::new();
        let error = loop {
            let record = vec![b'x'; 1000];
            match log.append(&record) {
                Ok(_) => written.push(record),
                Err(error) => break error,
            }
        };
        assert!(error.is_no_space(), "{error}");
        log.sync().unwrap();
        assert_eq!(contents(&log), written);
        assert!(
            log.append(vec![0; 1000]).unwrap_err().is_no_space(),
            "still full"
        );
        sim.set_capacity(None);
        // The maintenance thread may have failed once more on our behalf.
        let lsn = (0..3).find_map(|_| log.append("resumed").ok()).unwrap();
        log.sync_to(lsn).unwrap();
        assert_eq!(contents(&log).len(), written.len() + 1);
    }
}

/// F23: on a full disk the log opens, reads, and truncating it frees the space to go on.
#[test]
fn a_full_disk_can_be_truncated_free() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim).background(Background::Inline)).unwrap();
    sim.set_capacity(Some(sim.used_bytes() + (80 << 10)));
    while let Ok(lsn) = log.append(vec![1; 1000]) {
        log.sync_to(lsn).unwrap();
    }
    drop(log);
    sim.set_capacity(Some(sim.used_bytes()));
    let log = Wal::open_with("/log", on(&sim).background(Background::Inline)).unwrap();
    assert!(contents(&log).len() > 50);
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(log.first_lsn() > Lsn::ZERO);
    for _ in 0..30 {
        let lsn = log.append(vec![2; 1000]).unwrap();
        log.sync_to(lsn).unwrap();
    }
}

/// F30: a sector that cannot be read is an error with file and offset, and heals.
#[test]
fn an_unreadable_sector_is_an_error_at_open() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    let _ = log.append("a").unwrap();
    drop(log);
    sim.fail(Fault::new(Call::Read, FaultKind::Eio).on(".wal").nth(1));
    let error = Wal::open_with("/log", on(&sim)).unwrap_err();
    assert!(error.to_string().contains("offset"), "{error}");
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    assert_eq!(contents(&log), payloads(["a"]));
}

/// F25: a segment that cannot be removed costs space, not correctness; it is tried again.
#[test]
fn a_segment_that_cannot_be_removed_is_tried_again() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim).background(Background::Inline)).unwrap();
    let fill = |n: usize| {
        for _ in 0..n {
            let _ = log.append(vec![1; 1000]).unwrap();
        }
        log.sync().unwrap();
    };
    fill(60);
    sim.fail(Fault::new(Call::Remove, FaultKind::Eacces).forever());
    log.truncate_before(log.durable_lsn()).unwrap();
    let stuck = sim.files().len();
    sim.clear_faults();
    fill(30);
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(sim.files().len() < stuck, "{:?}", sim.files());
}
