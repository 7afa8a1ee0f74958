//! What the log does by itself and tells: the last durable-LSN record when it comes to rest,
//! statistics, metrics, priority.

use crate::common::options;
use highwater_wal::disk::{Clock, Disk, ManualClock, SimDisk};
use highwater_wal::{
    Background, FrameKind, Lsn, Options, Priority, Wal, WalError, WritePath, inspect,
};
use std::sync::Arc;
use std::time::Duration;

/// For a log with direct writes and threads of its own, by a clock that the test moves.
fn past_the_page_cache() -> (SimDisk, Arc<ManualClock>, Options) {
    let (sim, clock) = (SimDisk::new(), Arc::new(ManualClock::new(0)));
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let options = options()
        .disk(disk)
        .clock(Arc::clone(&clock) as _)
        .background(Background::Thread)
        .write_path(WritePath::Direct);
    (sim, clock, options)
}

/// The last position that the files themselves prove to have been durable.
fn attested_on_disk(sim: &SimDisk) -> Lsn {
    let disk: Arc<dyn Disk> = Arc::new(sim.snapshot());
    let log = inspect::Log::open(disk, "/log").unwrap();
    let frames = log.frames(Lsn::ZERO).unwrap().map(Result::unwrap);
    let marks = frames.filter(|frame| frame.kind == FrameKind::DurableAt);
    marks
        .filter_map(|frame| frame.durable_lsn())
        .max()
        .unwrap_or(Lsn::ZERO)
}

/// Past the page cache the record after the last group is in memory only, and damage to that
/// group could not be told from a torn write for as long as nothing else is committed. So it is
/// written once no group has come for a while, and that once.
#[test]
fn a_log_at_rest_proves_its_last_group() {
    let (sim, clock, options) = past_the_page_cache();
    let log = Wal::open_with("/log", options).unwrap();
    for text in ["a", "b"] {
        let lsn = log.append(text).unwrap();
        log.sync_to(lsn).unwrap();
    }
    let durable = log.durable_lsn();
    assert!(attested_on_disk(&sim) < durable, "the proof is in memory");
    let groups = log.stats().groups;
    while log.stats().groups == groups {
        clock.advance(Duration::from_millis(100));
        std::thread::yield_now();
    }
    assert_eq!(attested_on_disk(&sim), durable);
    let settled = log.durable_lsn();
    for _ in 0..100 {
        clock.advance(Duration::from_secs(1));
        std::thread::yield_now();
    }
    assert_eq!(log.durable_lsn(), settled, "once, not again and again");
    assert_eq!(log.stats().groups, groups + 1);
}

/// What `LOG` says was durable.
fn noted(sim: &SimDisk) -> Lsn {
    let log = sim.durable_file("/log/LOG").unwrap();
    let log: serde_json::Value = serde_json::from_slice(&log).unwrap();
    Lsn::new(log["attested_lsn"].as_u64().unwrap())
}

/// A log at rest notes its end in `LOG`, every ten seconds at most: whatever befalls the end of the
/// file later is damage then. All durable-LSN records after a place could be wiped out together
/// with what they prove, and it passed for the end.
#[test]
fn a_log_at_rest_notes_its_end() {
    let (sim, clock, options) = past_the_page_cache();
    let log = Wal::open_with("/log", options.clone()).unwrap();
    let begun = clock.now();
    for _ in 0..3 {
        for _ in 0..5 {
            let lsn = log.append([7; 700]).unwrap();
            log.sync_to(lsn).unwrap();
        }
        let durable = log.durable_lsn();
        while noted(&sim) < durable {
            clock.advance(Duration::from_millis(100));
            std::thread::yield_now();
        }
    }
    let took = clock.now().saturating_sub(begun);
    assert!(took >= Duration::from_secs(20), "three notes in {took:?}");
    let killed = sim.kill_process();
    drop(log);
    killed.edit("/log/00000000000000000000.wal", |bytes| {
        bytes[6000..].fill(0)
    });
    let disk: Arc<dyn Disk> = Arc::new(killed);
    let report = inspect::Log::open(Arc::clone(&disk), "/log").unwrap();
    assert!(!report.verify(|_| ()).unwrap().is_ok());
    let log = Wal::open_with("/log", options.disk(disk)).unwrap();
    let error = log.read_from(Lsn::ZERO).unwrap().find_map(Result::err);
    assert!(matches!(error, Some(WalError::Corrupt { .. })), "{error:?}");
}

#[test]
fn statistics_count_what_was_done() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let log = Wal::open_with("/log", options().disk(disk).background(Background::Inline)).unwrap();
    for n in 0..50_u8 {
        let lsn = log.append([n; 900]).unwrap();
        log.sync_to(lsn).unwrap();
    }
    let _ = log.append_batch(["x", "y", "z"]).unwrap();
    let _ = log.append_batch([""; 0]).unwrap();
    log.sync().unwrap();
    let before = log.stats();
    assert_eq!((before.records, before.frames, before.groups), (53, 52, 51));
    assert_eq!(before.sync.count, 51);
    assert_eq!(before.durable_lsn, log.durable_lsn());
    assert_eq!(before.first_lsn, Lsn::ZERO);
    assert_eq!(before.write_path, WritePath::Direct);
    // The first segment is made before anybody counts.
    assert_eq!(before.prepare.count + 1, before.segments as u64);
    log.truncate_before(log.durable_lsn()).unwrap();
    for n in 0..50_u8 {
        let lsn = log.append([n; 900]).unwrap();
        log.sync_to(lsn).unwrap();
    }
    let after = log.stats();
    assert!(after.recycle.count >= 3 && after.bytes_truncated > 0);
    let made = after.prepare.count - before.prepare.count;
    assert!(made < before.prepare.count, "some came back: {made}");
}

/// Where the process may not raise its threads they stay as they are, and everything else is the
/// same.
#[test]
fn a_raised_committer_commits() {
    for priority in [Priority::RealTime(1), Priority::Nice(-10)] {
        let sim = SimDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let options = Options::new().segment_size(16 << 10).disk(disk);
        let log = Wal::open_with("/log", options.committer_priority(priority)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lsn = log.append("x").unwrap();
                        log.sync_to(lsn).unwrap();
                    }
                });
            }
        });
        assert_eq!(log.stats().records, 200);
    }
}

/// The names and values that a recorder sees.
#[cfg(feature = "metrics")]
#[test]
fn metrics_reach_the_recorder() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let log =
            Wal::open_with("/log", options().disk(disk).background(Background::Inline)).unwrap();
        for n in 0..40_u8 {
            let lsn = log.append([n; 900]).unwrap();
            log.sync_to(lsn).unwrap();
        }
        let _ = log.stats();
    });
    let seen: Vec<(String, metrics_util::debugging::DebugValue)> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| (key.key().name().to_owned(), value))
        .collect();
    let value = |name: &str| {
        let found = seen.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no {name} in {seen:?}")).1
    };
    use metrics_util::debugging::DebugValue::{Counter, Gauge, Histogram};
    assert_eq!(*value("highwater_wal_records_total"), Counter(40));
    assert_eq!(*value("highwater_wal_groups_total"), Counter(40));
    assert!(matches!(value("highwater_wal_durable_lsn"), Gauge(lsn) if lsn.0 > 36_000.0));
    assert!(matches!(value("highwater_wal_sync_seconds"), Histogram(all) if all.len() >= 40));
    assert!(matches!(value("highwater_wal_prepare_seconds"), Histogram(all) if !all.is_empty()));
    assert_eq!(*value("highwater_wal_read_failures_total"), Counter(0));
}
