//! What the store does beyond openraft's suite: opening, space, errors, readers beside writes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod common;

use common::Types;
use highwater_openraft::{LogStore, OpenError, Settings};
use highwater_wal::disk::SimDisk;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::{Background, Lsn, Options, StreamId, Wal};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogReader, Vote};
use std::sync::Arc;

fn id(term: u64, index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(term, 0), index)
}

fn entry(index: u64) -> Entry<Types> {
    let payload = EntryPayload::Normal(format!("{index:0500}"));
    let log_id = id(1, index);
    Entry { log_id, payload }
}

fn options(disk: &SimDisk) -> Options {
    let options = Options::new().disk(Arc::new(disk.clone()));
    options.background(Background::Inline).segment_size(8 << 10)
}

fn open(disk: &SimDisk) -> Result<LogStore<Types>, OpenError> {
    let settings = Settings::new().log(options(disk)).cleaner_thread(false);
    LogStore::open_with("/log", settings)
}

fn run<R>(future: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

async fn indexes(store: &mut LogStore<Types>) -> Vec<u64> {
    let entries = store.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

/// The vote is saved once, and its record lies in segments that are freed long since.
#[test]
fn the_newest_state_outlives_the_segments_that_are_freed() {
    let disk = SimDisk::new();
    run(async {
        let mut store = open(&disk).unwrap();
        store.save_vote(&Vote::new(7, 3)).await.unwrap();
        for first in (0..400).step_by(40) {
            let entries = (first..first + 40).map(entry);
            store.blocking_append(entries).await.unwrap();
            store.save_committed(Some(id(1, first + 35))).await.unwrap();
            store.purge(id(1, first + 35)).await.unwrap();
        }
        assert!(
            store.wal().first_lsn() > Lsn::new(100_000),
            "space is freed"
        );
        assert!(store.wal().stats().disk_bytes < 60_000);
    });
    let mut store = open(&disk).unwrap();
    run(async {
        assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new(7, 3)));
        assert_eq!(store.read_committed().await.unwrap(), Some(id(1, 395)));
        assert_eq!(indexes(&mut store).await, [396, 397, 398, 399]);
        let state = store.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(id(1, 395)));
        assert_eq!(state.last_log_id, Some(id(1, 399)));
    });
}

/// On a machine's disk, with all threads.
#[test]
fn a_thread_frees_space() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options::new()
        .segment_size(64 << 10)
        .min_segment_size(64 << 10);
    let open = || {
        let settings = Settings::new().log(small.clone());
        LogStore::<Types>::open_with(dir.path().join("log"), settings).unwrap()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut store = open();
        for first in (0..2000).step_by(100) {
            let entries = (first..first + 100).map(entry);
            store.blocking_append(entries).await.unwrap();
            store.purge(id(1, first + 50)).await.unwrap();
        }
        drop(store); // waits for the thread: the directory is free
        let mut store = open();
        assert!(store.wal().first_lsn() > Lsn::ZERO);
        assert_eq!(indexes(&mut store).await, (1951..2000).collect::<Vec<_>>());
    });
}

#[test]
fn a_full_log_goes_on_when_entries_are_purged() {
    let disk = SimDisk::new();
    let bounded = options(&disk).max_bytes(48 << 10);
    let settings = Settings::new().log(bounded).cleaner_thread(false);
    let mut store = LogStore::<Types>::open_with("/log", settings).unwrap();
    run(async {
        let mut next = 0;
        let full = loop {
            match store.blocking_append([entry(next)]).await {
                Ok(()) => next += 1,
                Err(error) => break error,
            }
        };
        assert!(full.to_string().contains("full"), "{full}");
        assert!(next > 20);
        store.save_vote(&Vote::new(2, 1)).await.unwrap();
        store.purge(id(1, next - 2)).await.unwrap();
        store.blocking_append([entry(next)]).await.unwrap();
        assert_eq!(indexes(&mut store).await, [next - 1, next]);
    });
}

#[test]
fn a_failed_sync_reaches_the_callback_and_ends_the_store() {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    run(async {
        store.blocking_append([entry(0)]).await.unwrap();
        disk.fail(Fault::new(Call::WriteDirect, FaultKind::Eio));
        let failed = store.blocking_append([entry(1)]).await.unwrap_err();
        assert!(failed.to_string().contains("/log/"), "{failed}");
        store.blocking_append([entry(2)]).await.unwrap_err();
        store.save_vote(&Vote::new(2, 1)).await.unwrap_err();
        store.purge(id(1, 0)).await.unwrap_err();
        store.truncate(id(1, 0)).await.unwrap_err();
        assert_eq!(store.read_vote().await.unwrap(), None);
    });
}

#[test]
fn an_entry_that_would_leave_a_hole_is_refused() {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    run(async {
        store.blocking_append([entry(5), entry(6)]).await.unwrap();
        for index in [4, 6, 8] {
            let refused = store.blocking_append([entry(index)]).await.unwrap_err();
            assert!(
                refused.to_string().contains("the next one is 7"),
                "{refused}"
            );
        }
        store.purge(id(1, 5)).await.unwrap();
        // It is committed: the entry that the leader sends again is the same.
        store.blocking_append([entry(5)]).await.unwrap();
        assert_eq!(indexes(&mut store).await, [6]);
    });
}

#[test]
fn messages_are_bounded_and_hold_one_entry_at_least() {
    let disk = SimDisk::new();
    let settings = Settings::new().log(options(&disk)).max_read_bytes(1100);
    let settings = settings.cleaner_thread(false);
    let mut store = LogStore::<Types>::open_with("/log", settings).unwrap();
    run(async {
        store.blocking_append((0..5).map(entry)).await.unwrap();
        let mut reader = store.get_log_reader().await;
        let some = reader.limited_get_log_entries(1, 5).await.unwrap();
        assert_eq!(some, [entry(1), entry(2)]);
    });
}

/// A reader that was there before sees what is there now.
#[test]
fn readers_follow_truncations_and_purges() {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    run(async {
        let mut reader = store.get_log_reader().await;
        store.blocking_append((0..40).map(entry)).await.unwrap();
        assert_eq!(reader.try_get_log_entries(..).await.unwrap().len(), 40);
        store.truncate(id(1, 30)).await.unwrap();
        let mut other = entry(30);
        other.log_id = id(2, 30);
        store.blocking_append([other.clone()]).await.unwrap();
        store.purge(id(1, 27)).await.unwrap();
        let found = reader.try_get_log_entries(..).await.unwrap();
        assert_eq!(found, [entry(28), entry(29), other]);
        assert_eq!(reader.try_get_log_entries(..28).await.unwrap(), []);
    });
}

#[test]
fn a_log_of_another_program_is_refused() {
    let disk = SimDisk::new();
    let log = Wal::open_with("/log", options(&disk)).unwrap();
    let lsn = log.append_to(StreamId(9), "hello").unwrap();
    log.close().unwrap();
    drop(log);
    let refused = open(&disk).unwrap_err();
    let foreign = matches!(refused, OpenError::Foreign { lsn: at, .. } if at == lsn);
    assert!(foreign, "{refused}");
    let disk = SimDisk::new();
    let log = Wal::open_with("/log", options(&disk)).unwrap();
    let _ = log.append("hello").unwrap();
    log.close().unwrap();
    drop(log);
    let refused = open(&disk).unwrap_err();
    assert!(matches!(refused, OpenError::Record(_)), "{refused}");
}

/// As a log would be that lost an entry: the numbers do not agree.
#[test]
fn a_log_with_a_hole_is_refused() {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    let lsns: Vec<Lsn> = run(async {
        let mut lsns = Vec::new();
        for index in 0..5 {
            lsns.push(store.wal().end_lsn());
            store.blocking_append([entry(index)]).await.unwrap();
        }
        lsns
    });
    drop(store);
    let log = Wal::open_with("/log", options(&disk)).unwrap();
    // Before the record there may be one of the log's own.
    let range = log.read_range(lsns[2], lsns[3]).unwrap();
    let lsn = range.map(|record| record.unwrap().lsn).next().unwrap();
    let void = log.void(lsn, Lsn::new(lsn.get() + 8)).unwrap();
    log.sync_to(void).unwrap();
    log.close().unwrap();
    drop(log);
    let refused = open(&disk).unwrap_err();
    let hole = matches!(
        refused,
        OpenError::Hole {
            found: 4,
            expected: 3,
            ..
        }
    );
    assert!(hole, "{refused}");
}
