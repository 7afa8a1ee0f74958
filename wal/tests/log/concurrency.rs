//! Threads: group commit, futures, tails, watches, and closing under all of them.

use crate::common::executor::block_on;
use crate::common::{contents, options};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{AppendOptions, Background, Durability, Lsn, Tailed, Wal, WalError};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

/// F1, F13: eight threads over many rotations; every record is there once, in the order of its
/// thread.
#[test]
fn threads_commit_through_rotations() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..100_u8 {
                    let lsn = log.append([&[thread, n][..], &[0; 300]].concat()).unwrap();
                    if n % 4 == 0 {
                        log.sync_to(lsn).unwrap();
                        assert!(log.durable_lsn() > lsn);
                    }
                }
            });
        }
    });
    log.sync().unwrap();
    assert!(log.stats().segments > 5);
    let mut next: BTreeMap<u8, u8> = BTreeMap::new();
    for record in contents(&log) {
        let n = next.entry(record[0]).or_default();
        assert_eq!(record[1], *n);
        *n += 1;
    }
    assert!(next.len() == 8 && next.values().all(|n| *n == 100));
    log.close().unwrap();
    drop(log);
    assert_eq!(
        contents(&Wal::open_with(dir.path(), options()).unwrap()).len(),
        800
    );
}

/// Readers run beside writers and see only what is durable, whole batches, without gaps.
#[test]
fn readers_beside_writers_see_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..300_u32 {
                let range = log.append_batch([n.to_le_bytes(); 5]).unwrap();
                if n % 7 == 0 {
                    log.sync_to(range.first).unwrap();
                }
            }
            log.sync().unwrap();
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while seen < 1500 {
                    let records = contents(&log);
                    assert!(records.len() >= seen && records.len().is_multiple_of(5));
                    for (i, record) in records.iter().enumerate() {
                        assert_eq!(record, &u32::try_from(i / 5).unwrap().to_le_bytes());
                    }
                    seen = records.len();
                }
            });
        }
    });
}

#[test]
fn futures_become_ready_when_the_record_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    for n in 0..50_u32 {
        let lsn = log.append(n.to_le_bytes()).unwrap();
        block_on(log.durable(lsn)).unwrap();
        assert!(log.durable_lsn() > lsn);
    }
    assert!(matches!(
        block_on(log.durable(Lsn::new(1 << 40))),
        Err(WalError::BeyondEnd { .. })
    ));
    // F13: a future that is dropped while it waits harms nobody.
    let lsn = log.append("x").unwrap();
    drop(log.durable(lsn));
    let done: Vec<_> = (0..10_u8)
        .map(|n| log.durable(log.append([n]).unwrap()))
        .collect();
    for future in done {
        block_on(future).unwrap();
    }
}

#[test]
fn futures_work_without_threads() {
    let sim: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let log = Wal::open_with("/log", options().disk(sim).background(Background::Inline)).unwrap();
    let lsn = log.append("x").unwrap();
    block_on(log.durable(lsn)).unwrap();
    assert!(log.durable_lsn() > lsn);
}

#[test]
fn a_tail_gets_every_record_and_ends_on_close() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    std::thread::scope(|scope| {
        let tail = log.tail(Lsn::ZERO).unwrap();
        let follower = scope.spawn(move || {
            tail.map(|r| r.unwrap().payload.to_vec())
                .collect::<Vec<_>>()
        });
        for n in 0..200_u32 {
            let lsn = log.append([n.to_le_bytes(); 50].concat()).unwrap();
            log.sync_to(lsn).unwrap();
        }
        let _ = log.append("last, made durable by close").unwrap();
        log.close().unwrap();
        assert_eq!(follower.join().unwrap().len(), 201);
    });
}

#[test]
fn a_watch_follows_the_frontier_and_ends_on_close() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let watch = log.watch_durable();
    std::thread::scope(|scope| {
        let lsn = log.append("x").unwrap();
        let follower = scope.spawn(move || {
            let now = watch.changed_after(lsn).unwrap();
            assert!(now > lsn && watch.current() >= now);
            while let Ok(next) = watch.changed_after(watch.current()) {
                assert!(next > now);
            }
        });
        log.sync_to(lsn).unwrap();
        log.close().unwrap();
        follower.join().unwrap();
    });
}

/// A thread that appends while the log is closed gets an error or an acknowledgement that holds.
#[test]
fn closing_under_load_keeps_what_was_acknowledged() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let log = Wal::open_with(dir.path(), options()).unwrap();
        let acked: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4_u32)
                .map(|thread| {
                    let log = &log;
                    scope.spawn(move || {
                        let mut acked = Vec::new();
                        for n in 0_u32.. {
                            let record = [thread.to_le_bytes(), n.to_le_bytes()].concat();
                            match log.append(&record) {
                                Ok(lsn) => {
                                    log.sync_to(lsn).unwrap();
                                    acked.push(record);
                                }
                                Err(WalError::Closed { .. }) => break,
                                Err(other) => panic!("{other}"),
                            }
                        }
                        acked
                    })
                })
                .collect();
            while log.stats().records < 200 {
                std::thread::yield_now();
            }
            log.close().unwrap();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        drop(log);
        let mut shown = contents(&Wal::open_with(dir.path(), options()).unwrap());
        let mut acked = acked;
        shown.sort();
        acked.sort();
        assert_eq!(shown, acked);
    }
}

#[test]
fn an_interval_flushes_without_anybody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let interval = Durability::Interval(Duration::from_millis(1));
    let log = Wal::open_with(dir.path(), options().durability(interval)).unwrap();
    let watch = log.watch_durable();
    for _ in 0..3 {
        let lsn = log.append("plain").unwrap();
        assert!(watch.changed_after(lsn).unwrap() > lsn);
    }
    drop(log);
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let watch = log.watch_durable();
    let lsn = log
        .append_with(&AppendOptions::new().durability(interval), "own")
        .unwrap();
    assert!(watch.changed_after(lsn).unwrap() > lsn);
}

/// A flush is due while another thread makes durable what a future awaits: the flusher took that
/// for both, and the due one was never made.
#[test]
fn what_is_due_is_flushed_also_if_another_thread_served_the_future() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let at_once = AppendOptions::new().durability(Durability::Interval(Duration::ZERO));
    let (ask, asked) = std::sync::mpsc::channel::<Lsn>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for lsn in asked {
                log.sync_to(lsn).unwrap();
            }
        });
        let mut tail = log.tail(log.durable_lsn()).unwrap();
        for _ in 0..2000 {
            let awaited = log.append("awaited").unwrap();
            ask.send(awaited).unwrap();
            let mut future = log.durable(awaited);
            let _ = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
            let due = log.append_with(&at_once, "due").unwrap();
            while tail
                .next_timeout(Duration::from_secs(20))
                .is_ok_and(|found| matches!(found, Tailed::Record(record) if record.lsn < due))
            {
            }
            assert!(log.durable_lsn() > due);
        }
        drop(ask);
    });
}

/// The group commit shares flushes: eight committers need far fewer than one each.
#[test]
fn committers_share_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let lsn = log.append([0; 100]).unwrap();
                    log.sync_to(lsn).unwrap();
                }
            });
        }
    });
    let stats = log.stats();
    assert_eq!(stats.records, 400);
    assert!(stats.groups < 400, "{stats:?}");
}
