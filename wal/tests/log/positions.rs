//! Waiting for a position: at the end of the log it stands for everything below.

use crate::common::executor::block_on;
use crate::common::model::PATHS;
use crate::saved_seeds;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{Background, Durability, Lsn, Options, Wal, WalError};
use std::sync::Arc;

fn options(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    Options::new().segment_size(32 << 10).disk(disk)
}

/// Every set-up in which waiting takes another way.
fn everywhere(check: impl Fn(&SimDisk, &Wal)) {
    for path in PATHS {
        for background in [Background::Inline, Background::Thread] {
            for seal in [0, 4096] {
                for durability in [Durability::Sync, Durability::Os] {
                    let sim = SimDisk::new();
                    let options = options(&sim).write_path(path).background(background);
                    let options = options.seal_groups(seal).durability(durability);
                    check(&sim, &Wal::open_with("/log", options).unwrap());
                }
            }
        }
    }
}

/// Each way to wait for a position until it is on stable storage.
const WAYS: [fn(&Wal, Lsn) -> highwater_wal::Result<()>; 3] = [
    |log, lsn| log.sync_to(lsn),
    |log, lsn| block_on(log.durable(lsn)),
    |log, lsn| block_on(async { log.durable(lsn).await }),
];

/// `sync_to(end_lsn())` was an error: nothing stands at the end. What was meant is everything
/// below.
#[test]
fn waiting_for_the_end_makes_everything_below_durable() {
    everywhere(|_, log| {
        for wait in WAYS {
            for records in 0..3 {
                for n in 0..records {
                    let _ = log.append([n; 100]).unwrap();
                }
                let end = log.end_lsn();
                wait(log, end).unwrap();
                assert!(log.durable_lsn() >= end);
            }
        }
        // Across the end of a segment, and after it was closed.
        for _ in 0..5 {
            let _ = log.append([7; 9000]).unwrap();
        }
        log.sync_to(log.end_lsn()).unwrap();
        assert_eq!(log.read_from(Lsn::ZERO).unwrap().count(), 14);
        log.close().unwrap();
        for wait in WAYS {
            wait(log, log.end_lsn()).unwrap();
        }
    });
}

/// The durable-LSN record that follows a group moves the end: asking for the end again and again
/// must not append again and again.
#[test]
fn waiting_for_the_end_of_a_log_at_rest_appends_nothing() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim).background(Background::Inline)).unwrap();
    let _ = log.append("x").unwrap();
    log.sync_to(log.end_lsn()).unwrap();
    log.sync_to(log.end_lsn()).unwrap();
    let end = log.end_lsn();
    for _ in 0..10 {
        log.sync_to(log.end_lsn()).unwrap();
        block_on(log.durable(log.end_lsn())).unwrap();
    }
    assert_eq!((log.end_lsn(), log.durable_lsn()), (end, end));
}

#[test]
fn a_position_behind_the_end_is_refused() {
    everywhere(|_, log| {
        let _ = log.append("x").unwrap();
        for wait in WAYS {
            for beyond in [log.end_lsn().get() + 1, 1 << 50, u64::MAX] {
                let error = wait(log, Lsn::new(beyond)).unwrap_err();
                assert!(matches!(error, WalError::BeyondEnd { .. }), "{error}");
            }
        }
        let committed = log.commit(Lsn::new(u64::MAX)).unwrap_err();
        assert!(matches!(committed, WalError::BeyondEnd { .. }));
        log.commit(log.end_lsn()).unwrap();
    });
}

/// A failed sync is told to a waiter for the end, too, and nothing is acknowledged.
#[test]
fn waiting_for_the_end_of_a_poisoned_log_is_an_error() {
    everywhere(|sim, log| {
        let _ = log.append("x").unwrap();
        sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
        for wait in WAYS {
            let error = wait(log, log.end_lsn()).unwrap_err();
            assert!(matches!(error, WalError::Poisoned { .. }), "{error}");
        }
    });
}

/// What `sync_to(end)` has returned for survives the power cut.
#[test]
fn what_is_below_an_end_that_was_waited_for_survives_a_power_cut() {
    for path in PATHS {
        for wait in WAYS {
            let sim = SimDisk::new();
            let options = || options(&sim).background(Background::Inline);
            let log = Wal::open_with("/log", options().write_path(path)).unwrap();
            for n in 0..40 {
                let _ = log.append([n; 900]).unwrap();
            }
            wait(&log, log.end_lsn()).unwrap();
            sim.cut_power_now();
            drop(log);
            for seed in saved_seeds::seeds(0..5) {
                let sim = sim.restart_after_power_cut(seed);
                let disk: Arc<dyn Disk> = Arc::new(sim);
                let log = Wal::open_with("/log", options().disk(disk)).unwrap();
                assert_eq!(log.read_from(Lsn::ZERO).unwrap().count(), 40);
            }
        }
    }
}
