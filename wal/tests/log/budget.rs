//! The bound on disk space: appends are refused at it, told who is in the way, and go on once there
//! is room.

use crate::common::contents;
#[cfg(feature = "tracing")]
use crate::common::warnings::Warnings;
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{Background, Lsn, Options, StreamId, Wal, WalError};
#[cfg(all(feature = "metrics", feature = "tracing"))]
use metrics_util::debugging::DebugValue;
use std::sync::Arc;

const SEGMENT: u64 = 8 << 10;

fn bounded(sim: &SimDisk, segments: u64) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    Options::new()
        .segment_size(SEGMENT)
        .background(Background::Inline)
        .log_id_seed(1)
        .max_bytes(segments * SEGMENT)
        .disk(disk)
}

/// Appends and syncs until the log is full; the number of records, and the error.
fn fill(log: &Wal) -> (usize, WalError) {
    for n in 0.. {
        match log.append([7; 900]) {
            Ok(lsn) => log.sync_to(lsn).unwrap(),
            Err(error) => return (n, error),
        }
    }
    unreachable!("the log has a bound")
}

fn bytes_on_disk(sim: &SimDisk) -> u64 {
    let files = sim.files().into_iter();
    let segments = files.filter(|path| path.to_string_lossy().contains(".wal"));
    segments
        .map(|path| sim.read_file(path).unwrap().len() as u64)
        .sum()
}

#[test]
fn at_the_bound_appends_are_refused_and_nothing_is_lost() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 6)).unwrap();
    let (filled, error) = fill(&log);
    assert!(filled >= 20, "{filled}");
    assert!(bytes_on_disk(&sim) <= 6 * SEGMENT);
    let WalError::LogFull {
        max_bytes,
        used_bytes,
        reserved_bytes,
        held_by,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((*max_bytes, *used_bytes), (6 * SEGMENT, 5 * SEGMENT));
    assert_eq!(*reserved_bytes, SEGMENT, "kept for control records");
    assert!(held_by.contains("nobody has truncated"), "{held_by}");
    assert!(error.is_no_space());
    assert_eq!(contents(&log).len(), filled);
    assert!(matches!(
        log.append([7; 900]),
        Err(WalError::LogFull { .. })
    ));
    log.truncate_before(log.durable_lsn()).unwrap();
    let (more, _) = fill(&log);
    assert!(more > 10, "there is room again, without reopening: {more}");
    assert!(bytes_on_disk(&sim) <= 6 * SEGMENT);
    assert_eq!(log.stats().disk_bytes, bytes_on_disk(&sim));
}

#[test]
fn the_error_names_who_keeps_the_log() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 6)).unwrap();
    let first = log.append("first").unwrap();
    log.sync_to(first).unwrap();
    let guard = log.retain_as(first, "checkpoint 12 of billing").unwrap();
    fill(&log);
    log.truncate_before(log.durable_lsn()).unwrap();
    let error = log.append([7; 900]).unwrap_err().to_string();
    assert!(
        error.contains("checkpoint 12 of billing") && error.contains(&first.to_string()),
        "{error}"
    );
    let pins = log.holds();
    assert_eq!(
        (pins.len(), &pins[0].name[..], pins[0].lsn),
        (1, "checkpoint 12 of billing", first)
    );
    assert_eq!(pins[0].bytes, log.end_lsn().bytes_since(first));
    drop(guard);
    let reader = log.read_from(Lsn::ZERO).unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    let error = log.append([7; 900]).unwrap_err().to_string();
    assert!(error.contains("a reader"), "{error}");
    drop(reader);
    log.truncate_before(log.durable_lsn()).unwrap();
    let _ = log.append([7; 900]).unwrap();
}

/// The thread that makes segments knows the bound but not who keeps the log: its warning had an
/// empty clause.
#[cfg(feature = "tracing")]
#[test]
fn the_warning_at_the_bound_says_nothing_empty() {
    let warnings = Warnings::global();
    let sim = SimDisk::new();
    let options = bounded(&sim, 5).background(Background::Thread);
    let log = Wal::open_with("/warned", options).unwrap();
    let (_, error) = fill(&log);
    assert!(error.to_string().contains("; nobody has truncated"));
    // In the reserve there is nothing left to prepare.
    while log.append_control(StreamId(0), [7; 900]).is_ok() {}
    drop(log);
    let full = "error=the log in \"/warned\" is full: 40960 of 40960 bytes; the reserve for control records is in use. \
                Truncate it or raise `Options::max_bytes` ";
    let told = warnings.all();
    assert!(told.iter().any(|text| text.ends_with(full)), "{told:?}");
}

/// Warnings at 50 and at 80 percent, once each time the log grows past them, and how much is used
/// for metrics.
#[cfg(all(feature = "metrics", feature = "tracing"))]
#[test]
fn a_log_that_fills_up_is_told_of_at_50_and_80_percent() {
    let sim = SimDisk::new();
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let warnings = Warnings::global();
    let filling = |log: &Wal| {
        let before = warnings.all().len();
        fill(log);
        let told = warnings.all().split_off(before);
        let told = told.iter().filter(|text| text.contains("filling up"));
        let told = told.filter(|text| text.contains("dir=/filling "));
        told.map(|text| text.split_once("percent=").unwrap().1.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let used = || {
        let seen = snapshotter.snapshot().into_vec().into_iter();
        let mut ratio =
            seen.filter(|(key, ..)| key.key().name() == "highwater_wal_budget_used_ratio");
        ratio.next().unwrap().3
    };
    metrics::with_local_recorder(&recorder, || {
        let log = Wal::open_with("/filling", bounded(&sim, 10)).unwrap();
        assert_eq!(filling(&log), ["50", "80"]);
        let _ = log.stats();
        assert_eq!(
            used(),
            DebugValue::Gauge(0.9.into()),
            "the rest is the reserve"
        );
        assert_eq!(filling(&log), [""; 0], "it is still full");
        log.truncate_before(log.durable_lsn()).unwrap();
        let _ = log.stats();
        let DebugValue::Gauge(now) = used() else {
            panic!("a gauge")
        };
        assert!(now.0 < 0.5, "{now}");
        assert_eq!(filling(&log), ["50", "80"], "again, since it was below");
    });
}

/// Where the segment in use was larger than the bound leaves room for, nothing could be truncated
/// and nothing appended: the log goes on in a segment of the present size, beyond the bound, and
/// the large one can be truncated.
#[test]
fn a_last_segment_larger_than_the_bound_can_be_left_and_freed() {
    for (old, now) in [(4, 4), (16, 4), (5, 5)] {
        let sim = SimDisk::new();
        let large = bounded(&sim, 64).segment_size(old * SEGMENT);
        drop(Wal::open_with("/log", large).unwrap());
        let log = Wal::open_with("/log", bounded(&sim, now)).unwrap();
        let (filled, _) = fill(&log);
        assert!(filled > 25, "the large segment is filled: {filled}");
        assert!(bytes_on_disk(&sim) <= (old + 1) * SEGMENT);
        log.truncate_before(log.durable_lsn()).unwrap();
        let (more, _) = fill(&log);
        assert!(more > 5, "{more}");
        assert!(bytes_on_disk(&sim) <= old.max(now) * SEGMENT + SEGMENT);
    }
}

/// What the files take counts from the start: a log that is opened full is full.
#[test]
fn the_bound_counts_what_was_there_before() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 5)).unwrap();
    fill(&log);
    drop(log);
    let log = Wal::open_with("/log", bounded(&sim, 5)).unwrap();
    assert_eq!(log.stats().disk_bytes, bytes_on_disk(&sim));
    fill(&log);
    assert!(bytes_on_disk(&sim) <= 5 * SEGMENT);
}

#[test]
fn a_bound_of_less_than_four_segments_is_refused() {
    let error = Wal::open_with("/log", bounded(&SimDisk::new(), 3)).unwrap_err();
    assert!(
        matches!(&error, WalError::BadOptions { what } if what.contains("four segments")),
        "{error}"
    );
}

/// The error told of a segment that could not be made, as if records were lost: only the mark of a
/// clean end is.
#[test]
fn closing_where_the_mark_finds_no_room_says_that_everything_is_durable() {
    for bound in ["disk", "log"] {
        let sim = SimDisk::new();
        let segments = if bound == "log" { 4 } else { 40 };
        let log = Wal::open_with("/log", bounded(&sim, segments)).unwrap();
        if bound == "disk" {
            sim.set_capacity(Some(sim.used_bytes() + 100));
        }
        let (mut appended, _) = fill(&log);
        // Not a frame more fits the segment.
        appended += (0..).take_while(|_| log.append("").is_ok()).count();
        if bound == "log" {
            // Of the reserve the mark may use the first half.
            let _ = log.append_control(StreamId(0), [7; 3000]).unwrap();
            appended += 1;
        }
        let end = log.end_lsn();
        assert!(log.durable_lsn() < end);
        let error = log.close().unwrap_err();
        assert!(error.is_no_space(), "{error}");
        let durable = "everything appended is durable, but the log could not be marked as closed: ";
        assert!(error.to_string().starts_with(durable), "{error}");
        assert!(log.durable_lsn() >= end);
        drop(log);
        sim.cut_power_now();
        let sim = sim.restart_after_power_cut(1);
        sim.set_capacity(None);
        let log = Wal::open_with("/log", bounded(&sim, 40)).unwrap();
        assert_eq!(contents(&log).len(), appended, "{bound}");
    }
}

/// Records of other streams are passed over; a batch counts as a whole.
#[test]
fn a_stream_can_be_read_alone() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 40)).unwrap();
    for n in 0..60_u8 {
        let stream = StreamId(u16::from(n % 3));
        let _ = log
            .append_batch_to(stream, [vec![n; 200], vec![n, n]])
            .unwrap();
    }
    log.sync().unwrap();
    let read = |stream| -> Vec<u8> {
        let records = log.read_from(Lsn::ZERO).unwrap().only(StreamId(stream));
        records.map(|record| record.unwrap().payload[0]).collect()
    };
    for stream in 0..3_u16 {
        let expected: Vec<u8> = (0..60)
            .filter(|n| u16::from(n % 3) == stream)
            .flat_map(|n| [n, n])
            .collect();
        assert_eq!(read(stream), expected);
    }
    assert!(read(3).is_empty());
    log.close().unwrap();
    let tail = log.tail(log.first_lsn()).unwrap().only(StreamId(1));
    assert_eq!(tail.count(), 40);
}
