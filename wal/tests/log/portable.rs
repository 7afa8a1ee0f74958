//! A log on the disk of systems other than Linux, in a directory of this machine. `.ci/run` runs
//! the whole suite on it, too (`--cfg highwater_portable`).

use crate::common;
use crate::common::contents;
use highwater_wal::disk::{Disk, OsDisk};
use highwater_wal::{
    Case, Durability, Lsn, Options, ReadPath, StreamId, Wal, WalError, WritePath, inspect,
};
use std::collections::BTreeSet;
use std::sync::Arc;

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk::portable())
}

fn options(read: ReadPath) -> Options {
    common::options().disk(disk()).read_path(read)
}

const PATHS: [ReadPath; 2] = [ReadPath::Mapped, ReadPath::Copy];

/// Threads append and wait for their records, over many segments; everything is there, in the order
/// of each thread, for readers, for a second life and for `verify`.
#[test]
fn what_threads_commit_is_there_in_the_next_life() {
    const THREADS: u16 = 4;
    const EACH: u32 = 60;
    for read in PATHS {
        let dir = tempfile::tempdir().unwrap();
        let log = Wal::open_with(dir.path(), options(read)).unwrap();
        assert_eq!(log.stats().write_path, WritePath::PageCache);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let log = &log;
                scope.spawn(move || {
                    for n in 0..EACH {
                        let text = format!("{thread} {n:04} {}", "x".repeat(600));
                        let batch = log.append_batch_to(StreamId(thread), [text]).unwrap();
                        log.sync_to(batch.first).unwrap();
                    }
                });
            }
        });
        let check = |log: &Wal| {
            for thread in 0..THREADS {
                let records = log.read_from(Lsn::ZERO).unwrap().only(StreamId(thread));
                let numbers = records.map(|record| {
                    let payload = record.unwrap().payload.to_vec();
                    let text = String::from_utf8(payload).unwrap();
                    text.split(' ').nth(1).unwrap().parse::<u32>().unwrap()
                });
                assert_eq!(numbers.collect::<Vec<_>>(), (0..EACH).collect::<Vec<_>>());
            }
        };
        check(&log);
        assert!(log.stats().segments > 2);
        log.close().unwrap();
        drop(log);
        let log = Wal::open_with(dir.path(), options(read)).unwrap();
        assert_eq!(log.recovery().case, Case::CleanEnd);
        check(&log);
        let report = inspect::Log::open(disk(), dir.path()).unwrap();
        let report = report.verify(|_| ()).unwrap();
        assert!(report.is_ok(), "{report:?}");
        assert_eq!(report.records, u64::from(THREADS) * u64::from(EACH));
    }
}

/// What was appended and not synced survives the handle, as it does the process: it is in the page
/// cache. And both disks of this machine read each other's logs.
#[test]
fn a_log_that_was_left_open_goes_on_on_either_disk() {
    let dir = tempfile::tempdir().unwrap();
    let left = |disk: OsDisk, text: &str| {
        let options = common::options().durability(Durability::Os);
        let log = Wal::open_with(dir.path(), options.disk(Arc::new(disk))).unwrap();
        let before = contents(&log).len();
        let _ = log.append(text).unwrap();
        drop(log);
        before
    };
    assert_eq!(left(OsDisk::portable(), "one"), 0);
    assert_eq!(left(OsDisk::new(), "two"), 1);
    assert_eq!(left(OsDisk::portable(), "three"), 2);
    let log = Wal::open_with(dir.path(), options(ReadPath::Copy)).unwrap();
    assert_eq!(contents(&log), common::payloads(["one", "two", "three"]));
}

/// A bound, truncation, recycled files, and the lock.
#[test]
fn a_bounded_log_fills_up_is_truncated_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let bounded = options(ReadPath::Mapped).max_bytes(6 * (16 << 10));
    let log = Wal::open_with(dir.path(), bounded.clone()).unwrap();
    let second = Wal::open_with(dir.path(), bounded).unwrap_err();
    assert!(matches!(second, WalError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    let mut seen = BTreeSet::new();
    for round in 0..5_u8 {
        let full = loop {
            match log.append([round; 900]) {
                Ok(lsn) => assert!(seen.insert(lsn), "no LSN twice"),
                Err(error) => break error,
            }
        };
        assert!(full.is_no_space(), "{full}");
        log.sync().unwrap();
        assert!(contents(&log).iter().any(|record| record == &[round; 900]));
        log.truncate_before(log.durable_lsn()).unwrap();
    }
    log.close().unwrap();
}
