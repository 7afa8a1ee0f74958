//! Disasters that need a scenario of their own, on the simulated disk.

use crate::common;
use crate::common::model::{Op, SEGMENT_SIZE, World};
use crate::common::{contents, options, payloads};
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, ManualClock, SimDisk};
use highwater_wal::{
    AppendOptions, Background, Cheat, Durability, Lsn, Options, Wal, WalError, WritePath,
};
use highwater_wal::{Case, inspect};
use std::sync::Arc;
use std::time::Duration;

/// Through the page cache: a killed process, a stale file and a slow sync leave more there than
/// past it.
fn on(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    options()
        .disk(disk)
        .background(Background::Inline)
        .write_path(WritePath::PageCache)
}

/// What is left if nothing survives that was not flushed.
fn only_what_was_flushed(sim: &SimDisk) -> SimDisk {
    let left = SimDisk::new();
    left.create_dir_all("/log".as_ref()).unwrap();
    for path in sim.durable_files() {
        left.put_file(&path, sim.durable_file(&path).unwrap());
    }
    left
}

fn program() -> Vec<Op> {
    let mut program = Vec::new();
    for round in 0..10_usize {
        for thread in 0..3 {
            let size = 300 + 90 * (round % 7);
            program.push(Op::Append { thread, size });
        }
        program.push(Op::SyncTo { thread: round % 3 });
        if round % 4 == 3 {
            program.extend([Op::Truncate { percent: 80 }, Op::Read, Op::Reopen]);
        }
    }
    program
}

/// What cutting the power before each mutation leaves, if everything that was not flushed is gone.
fn lose_all_caches(cheat: Cheat, path: WritePath) -> Result<u64, String> {
    for cut in 0.. {
        let mut world = World::new(cheat, path);
        world.cut_before(cut);
        let stop = world.run(&program())?;
        world.sim.cut_power_now();
        let mut second = world.fork(only_what_was_flushed(&world.sim));
        second.open().map_err(|e| format!("cut {cut}: {e}"))?;
        if stop == common::model::Stop::Finished {
            return Ok(cut);
        }
    }
    unreachable!("a program ends")
}

/// F5: the power goes off before each mutation, and nothing that was not flushed survives: no page
/// of the cache, no sector in the device's. A log that acknowledges before it flushes is caught.
#[test]
fn what_was_acknowledged_needs_no_cache() {
    for path in common::model::PATHS {
        assert!(lose_all_caches(Cheat::None, path).unwrap() > 80);
        assert!(lose_all_caches(Cheat::AckBeforeSync, path).is_err());
    }
}

/// F12: the machine goes down in the middle of each recovery, a hundred times over: files do not
/// pile up, and in the end the log is there.
#[test]
fn a_storm_of_reboots_makes_progress_in_bounded_space() {
    let sim = SimDisk::new();
    let small = |sim: &SimDisk| on(sim).segment_size(SEGMENT_SIZE);
    let log = Wal::open_with("/log", small(&sim)).unwrap();
    for n in 0..40_u8 {
        let lsn = log.append([n; 500]).unwrap();
        log.sync_to(lsn).unwrap();
    }
    for _ in 0..30 {
        let _ = log.append([99; 500]).unwrap();
    }
    sim.cut_power_now();
    let most = sim.used_bytes() + 2 * SEGMENT_SIZE + (16 << 10);
    drop(log);
    let mut sim = sim.restart_after_power_cut(1);
    let mut shown = 0;
    for round in 0..100 {
        sim.cut_power_before(round % 23);
        let opened = Wal::open_with("/log", small(&sim));
        // The last steps of opening may fail without harm: if the power went off in one, nothing
        // can be read.
        if let Some(log) = opened.ok().filter(|_| sim.is_alive()) {
            let found = contents(&log);
            assert!(found.len() >= shown.max(40), "what was shown stays");
            assert!((0..40).all(|n| found[n] == [u8::try_from(n).unwrap(); 500]));
            shown = found.len();
            sim.cut_power_now();
            drop(log);
        }
        sim.cut_power_now();
        assert!(sim.used_bytes() <= most, "round {round}");
        sim = sim.restart_after_power_cut(round);
    }
    assert!(shown >= 40, "some recovery came to its end");
    let log = Wal::open_with("/log", small(&sim)).unwrap();
    assert!(contents(&log).len() >= shown);
}

/// F16: a log whose syncs fail changes nothing any more, however often it is asked. Reading may
/// still ask for pages.
#[test]
fn a_poisoned_log_leaves_the_disk_alone() {
    for background in [Background::Inline, Background::Thread] {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", on(&sim).background(background)).unwrap();
        let lsn = log.append("kept").unwrap();
        log.sync_to(lsn).unwrap();
        sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio).forever());
        let lost = log.append("lost").unwrap();
        assert!(log.sync_to(lost).is_err());
        let before = sim.mutations();
        for _ in 0..500 {
            let poisoned = |outcome: Result<(), WalError>| {
                assert!(
                    matches!(outcome, Err(WalError::Poisoned { .. })),
                    "{outcome:?}"
                );
            };
            poisoned(log.append("more").map(|_| ()));
            poisoned(log.sync());
            poisoned(log.sync_to(lost));
            poisoned(log.truncate_before(log.durable_lsn()));
            assert_eq!(contents(&log), payloads(["kept"]), "reading goes on");
        }
        assert_eq!(sim.mutations(), before);
    }
}

/// F18, F51: a handle gone stale, as network file systems have it, is a failed sync: final.
#[test]
fn a_stale_handle_is_a_failed_sync() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    let lsn = log.append("kept").unwrap();
    log.sync_to(lsn).unwrap();
    sim.fail(Fault::new(Call::SyncMap, FaultKind::Estale));
    let lost = log.append("lost").unwrap();
    let error = log.sync_to(lost).unwrap_err();
    assert!(matches!(error, WalError::Poisoned { .. }), "{error}");
    assert!(log.sync_to(lost).is_err() && log.append("more").is_err());
    assert_eq!(contents(&log), payloads(["kept"]));
}

/// F32: while a sync takes its time, nothing is acknowledged, and appending and reading go on; when
/// it ends, what it covered is acknowledged, late but right.
#[test]
fn a_slow_sync_is_waited_for_and_stops_nobody_else() {
    let sim = SimDisk::new();
    let quick = Wal::open_with("/log", on(&sim)).unwrap();
    let lsn = quick.append("before").unwrap();
    quick.sync_to(lsn).unwrap();
    drop(quick);
    // A thread that syncs is held until two others wait: with one other it does not end.
    let slow = on(&sim).background(Background::Thread);
    let log = Wal::open_with("/log", slow.cheat(Cheat::LeaderAwaits(2))).unwrap();
    let durable = log.durable_lsn();
    let commit = || log.append("waits").and_then(|lsn| log.sync_to(lsn));
    std::thread::scope(|scope| {
        let mut waiters: Vec<_> = (0..2).map(|_| scope.spawn(commit)).collect();
        for _ in 0..200 {
            let _ = log.append([7; 300]).unwrap();
            assert_eq!(log.durable_lsn(), durable);
            assert_eq!(contents(&log), payloads(["before"]));
        }
        assert!(!waiters.iter().any(|waiter| waiter.is_finished()));
        waiters.push(scope.spawn(commit));
        let _ = log.watch_durable().changed_after(durable).unwrap();
        let shown = contents(&log);
        assert!(shown.len() > 1 && shown.iter().filter(|r| *r == b"waits").count() > 0);
        // The next sync would be held again: it fails, so that the test can end.
        sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
        for _ in 0..3 {
            scope.spawn(|| assert!(commit().is_err()));
        }
        let answers = waiters.into_iter().map(|waiter| waiter.join().unwrap());
        let acked = answers.filter(Result::is_ok).count();
        let shown = contents(&log).iter().filter(|r| *r == b"waits").count();
        assert!(acked > 0 && acked <= shown, "{acked} of {shown}");
    });
}

/// F48: the wall clock jumps by decades in both directions: positions ascend, nothing is truncated
/// or flushed by it, and intervals follow the monotonic clock.
#[test]
fn jumps_of_the_wall_clock_have_no_effect() {
    const DECADE_MS: u64 = 10 * 365 * 86_400_000;
    let sim = SimDisk::new();
    let mut expected = Vec::new();
    let mut last = Lsn::ZERO;
    for (run, start) in [3 * DECADE_MS, 6 * DECADE_MS, 0].into_iter().enumerate() {
        let clock = Arc::new(ManualClock::new(start));
        let log = Wal::open_with("/log", on(&sim).clock(Arc::clone(&clock) as _)).unwrap();
        let within = AppendOptions::new().durability(Durability::Interval(Duration::from_secs(1)));
        for wall in [start, start + DECADE_MS, 0, start] {
            clock.set_wall_ms(wall);
            let durable = log.durable_lsn();
            let record = format!("run {run}, at {wall}").into_bytes();
            let lsn = log.append_with(&within, &record).unwrap();
            assert!(lsn > last && log.durable_lsn() == durable);
            last = lsn;
            expected.push(record);
        }
        clock.advance(Duration::from_secs(1));
        let lsn = log.append_with(&within, "in time").unwrap();
        assert!(log.durable_lsn() > last, "the monotonic interval is over");
        last = lsn;
        expected.push(b"in time".to_vec());
        assert_eq!(log.first_lsn(), Lsn::ZERO);
        log.close().unwrap();
    }
    assert_eq!(
        contents(&Wal::open_with("/log", on(&sim)).unwrap()),
        expected
    );
}

/// F40: a write that the device lost: a sector or page as it was at an earlier sync, in a log that
/// was killed. What later syncs proved to be durable is there, or it is an error; and it is never
/// anything else.
#[test]
fn a_sector_as_it_was_earlier_is_noticed() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    let mut earlier = Vec::new();
    let path = "/log/00000000000000000000.wal";
    for n in 0..24_u8 {
        let lsn = log.append([n + 1; 300]).unwrap();
        log.sync_to(lsn).unwrap();
        earlier.push(sim.read_file(path).unwrap());
    }
    let sim = sim.kill_process();
    drop(log);
    let now = sim.read_file(path).unwrap();
    let (mut errors, mut shorter) = (0, 0);
    for (version, old) in earlier.iter().enumerate() {
        for size in [512, 4096] {
            for at in (4096..now.len()).step_by(size) {
                if old[at..at + size] == now[at..at + size] {
                    continue;
                }
                let copy = sim.snapshot();
                copy.edit(path, |bytes| {
                    bytes[at..at + size].copy_from_slice(&old[at..at + size])
                });
                match Wal::open_with("/log", on(&copy)) {
                    Err(WalError::Corrupt { .. }) => errors += 1,
                    Err(error) => panic!("{error}"),
                    Ok(log) => {
                        let shown = contents(&log);
                        for (n, record) in shown.iter().enumerate() {
                            assert_eq!(*record, [u8::try_from(n + 1).unwrap(); 300]);
                        }
                        // Only if every proof stood in what was lost: the tail of the file, back to
                        // some sync.
                        let tail = now[at + size..].iter().all(|b| *b == 0);
                        assert!(tail && log.recovery().case != Case::CleanEnd);
                        assert!(shown.len() > version);
                        shorter += usize::from(shown.len() < 24);
                    }
                }
            }
        }
    }
    assert!(errors > 200, "{errors}");
    assert!(shorter > 0, "the limit that P5 names exists");
    let disk: Arc<dyn Disk> = Arc::new(sim);
    let report = inspect::Log::open(disk, "/log").unwrap().verify(|_| ());
    assert!(report.unwrap().is_ok());
}
