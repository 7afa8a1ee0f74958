//! Every call to the disk fails, once or always, at every occurrence (F19 to F30, for checkpoints).

use crate::common;
use crate::common::{check, lsn, options, publish};
use highwater_checkpoint::{
    CheckpointError, Checkpoints, Inspected, LocalStore, Published, Result, Retired, Store,
    Validity,
};
use highwater_disk::SimDisk;
use highwater_disk::sim::{Call, Fault, FaultKind};
use std::sync::Arc;

const DIR: &str = "/checkpoints";

fn store(disk: &SimDisk) -> Arc<dyn Store> {
    Arc::new(LocalStore::new(Arc::new(disk.clone()), DIR))
}

fn open(disk: &SimDisk, writer: u64) -> Result<Checkpoints> {
    Checkpoints::open(store(disk), options(writer))
}

fn base() -> SimDisk {
    let disk = SimDisk::new();
    let mut checkpoints = open(&disk, 1).unwrap();
    for n in 1..=3 {
        publish(&mut checkpoints, n).unwrap();
        checkpoints.retire().unwrap();
    }
    disk
}

/// The valid checkpoints on the disk, by content, newest first. A damaged one can only be an old
/// one whose removal was not confirmed and that has risen again: two valid ones are newer.
fn valid(disk: &SimDisk) -> Vec<u64> {
    let found = Checkpoints::inspect(&store(disk)).unwrap();
    let is_valid = |i: &Inspected| i.validity == Validity::Valid;
    let first_damaged = found.iter().position(|i| !is_valid(i));
    assert!(first_damaged.is_none_or(|at| at >= 2), "{found:?}");
    let valid = found
        .into_iter()
        .filter(is_valid)
        .filter_map(|i| i.manifest);
    valid.map(|m| m.lsn / 1000).collect()
}

/// Every fault that can strike while `run` works on a copy of `base`, each on a disk of its own.
fn each_fault(kinds: &[FaultKind], run: impl Fn(&SimDisk, &dyn Fn())) {
    let mut struck = 0;
    for call in Call::ALL {
        for kind in kinds {
            if *kind == FaultKind::Short && !matches!(call, Call::Read | Call::Write) {
                continue;
            }
            for forever in [false, true] {
                for nth in 0.. {
                    let disk = base().snapshot();
                    let fault = Fault::new(call, *kind).nth(nth);
                    let fault = if forever { fault.forever() } else { fault };
                    run(&disk, &|| disk.fail(fault.clone()));
                    if disk.faults_fired() == 0 {
                        break;
                    }
                    struck += 1;
                }
            }
        }
    }
    assert!(struck > 30, "only {struck} faults struck");
}

fn publish_and_retire(
    checkpoints: &mut Checkpoints,
    n: u64,
) -> (Result<Published>, Result<Retired>) {
    let published = publish(checkpoints, n);
    let retired = checkpoints.retire();
    (published, retired)
}

/// A failed publication leaves both retained checkpoints alone; when the fault is over, the same
/// process publishes and retires; and after a power cut everything that was confirmed is there.
#[test]
fn a_failing_disk_costs_the_attempt_and_nothing_else() {
    each_fault(&[FaultKind::Eio, FaultKind::Enospc], |disk, inject| {
        let mut checkpoints = open(disk, 2).unwrap();
        inject();
        let (published, retired) = publish_and_retire(&mut checkpoints, 4);
        disk.clear_faults();
        let there = valid(disk);
        if published.is_err() {
            assert!(there.ends_with(&[3, 2]), "{there:?}");
        } else {
            assert!(there.starts_with(&[4, 3]), "{there:?}");
        }
        for result in [published.as_ref().err(), retired.as_ref().err()]
            .into_iter()
            .flatten()
        {
            assert!(matches!(result, CheckpointError::Io { .. }), "{result}");
        }
        if let Ok(retired) = retired {
            let needed = retired.oldest_needed_lsn.unwrap();
            assert!(needed <= lsn(if published.is_ok() { 3 } else { 2 }));
        }
        let (published, retired) = publish_and_retire(&mut checkpoints, 5);
        published.unwrap();
        let needed = retired.unwrap().oldest_needed_lsn.unwrap();
        disk.cut_power_now();
        let rebooted = disk.restart_after_power_cut(7);
        let there = valid(&rebooted);
        assert!(there.len() >= 2 && there[0] == 5, "{there:?}");
        assert!(
            there.iter().all(|n| lsn(*n) >= needed),
            "{there:?} {needed}"
        );
        let newest = open(&rebooted, 3).unwrap().newest().unwrap().unwrap();
        check(&newest, 5);
        let mut checkpoints = open(&rebooted, 4).unwrap();
        publish(&mut checkpoints, 6).unwrap();
        checkpoints.retire().unwrap();
        assert_eq!(valid(&rebooted), [6, 5]);
        assert_eq!(Checkpoints::inspect(&store(&rebooted)).unwrap().len(), 2);
    });
}

/// F30: a read that fails is an error, never a missing checkpoint and never a reason to take an
/// older one. When the disk answers again, everything is there.
#[test]
fn a_failing_read_is_never_taken_for_damage() {
    each_fault(&[FaultKind::Eio, FaultKind::Emfile], |disk, inject| {
        inject();
        let found = open(disk, 2).and_then(|mut c| {
            let newest = c.newest()?.unwrap();
            common::BLOCKS
                .iter()
                .try_for_each(|(s, g)| newest.read_group(s, *g).map(drop))?;
            Ok(newest)
        });
        disk.clear_faults();
        match found {
            Ok(newest) => check(&newest, 3),
            Err(e) => assert!(matches!(e, CheckpointError::Io { .. }), "{e}"),
        }
        assert_eq!(valid(disk), [3, 2]);
        check(&open(disk, 3).unwrap().newest().unwrap().unwrap(), 3);
    });
}

/// F20: short reads and writes are continued.
#[test]
fn short_reads_and_writes_change_nothing() {
    each_fault(&[FaultKind::Short], |disk, inject| {
        inject();
        let mut checkpoints = open(disk, 2).unwrap();
        publish(&mut checkpoints, 4).unwrap();
        check(&checkpoints.newest().unwrap().unwrap(), 4);
    });
}

/// F21, F23: a full disk refuses new checkpoints with a clear error, opens, reads and retires; with
/// space it goes on.
#[test]
fn a_full_disk_still_reads_and_retires() {
    let room = base().used_bytes();
    for more in [0, 10, 100, 1000, 2000] {
        let disk = base();
        disk.set_capacity(Some(room + more));
        let mut checkpoints = open(&disk, 2).unwrap();
        check(&checkpoints.newest().unwrap().unwrap(), 3);
        let error = publish(&mut checkpoints, 4).unwrap_err();
        let CheckpointError::Io {
            op: "write",
            source,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        let retired = checkpoints.retire().unwrap();
        assert_eq!(
            (retired.removed, retired.oldest_needed_lsn),
            (vec![], Some(lsn(2)))
        );
        assert_eq!(
            disk.used_bytes(),
            room,
            "what the attempt had written is free again"
        );
        disk.set_capacity(None);
        assert_eq!(publish(&mut checkpoints, 4).unwrap().number, 4);
    }
}

/// A directory that is a file, in the way or above.
#[test]
fn a_file_in_the_place_of_the_directory_is_an_error() {
    for dir in ["/checkpoints", "/checkpoints/below"] {
        let disk = SimDisk::new();
        disk.put_file("/checkpoints", b"a file".to_vec());
        let store = Arc::new(LocalStore::new(Arc::new(disk), dir));
        let error = Checkpoints::open(store, options(1))
            .unwrap_err()
            .to_string();
        let expected = format!("cannot prepare {dir}: cannot create directory");
        assert!(
            error.starts_with(&expected) && error.contains("Not a directory"),
            "{error}"
        );
    }
}
