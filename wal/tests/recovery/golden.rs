//! F81: directories that format versions 1 and 2 wrote, kept for ever, opened by the program of
//! today.
//!
//! `HIGHWATER_WRITE_GOLDEN=1 cargo test -p highwater-wal --test recovery golden` writes those of
//! the present version anew; once a version is released its directories never change.
#![allow(
    clippy::disallowed_methods,
    reason = "a test fails by panicking, in its helpers too, and copies directories by itself"
)]

use highwater_wal::disk::{ManualClock, OsDisk, SimDisk};
use highwater_wal::{
    Background, Case, Compression, Lsn, Options, RecordKind, StreamId, Wal, inspect,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

/// What is special about a directory: its name, how it was left, whether batches are compressed.
const CASES: &[(&str, Case, Compression)] = &[
    ("clean", Case::CleanEnd, Compression::Off),
    ("killed", Case::OpenEnd, Compression::Off),
    #[cfg(feature = "zstd")]
    ("compressed", Case::OpenEnd, Compression::Zstd { level: 3 }),
];

fn golden(version: &str, case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(version)
        .join(case)
}

/// A copy of a directory, to be opened.
fn copy_of(version: &str, case: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(version, case)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn is_writing() -> bool {
    std::env::var_os("HIGHWATER_WRITE_GOLDEN").is_some()
}

/// What the directories hold: stream, kind and bytes of each record.
fn records(compression: Compression) -> Vec<(u16, RecordKind, Vec<u8>)> {
    let mut records = Vec::new();
    for n in 0..12_u8 {
        records.push((
            u16::from(n),
            RecordKind::Data,
            vec![n; 300 + usize::from(n)],
        ));
    }
    if compression != Compression::Off {
        for (n, (.., payload)) in (0..).zip(&mut records) {
            let line = format!("line {n} of a text; ");
            *payload = line.repeat(100).into_bytes();
        }
    }
    records.push((7, RecordKind::Control, b"a cut".to_vec()));
    for text in ["all", "", "or none"] {
        records.push((3, RecordKind::Data, text.as_bytes().to_vec()));
    }
    records.push((0, RecordKind::Data, Vec::new()));
    records
}

fn write(log: &Wal, compression: Compression) {
    let records = records(compression);
    for (stream, _, payload) in &records[..12] {
        let range = log.append_batch_to(StreamId(*stream), [payload]).unwrap();
        log.sync_to(range.first).unwrap();
    }
    let _ = log.append_control(StreamId(7), &records[12].2).unwrap();
    let _ = log
        .append_batch_to(StreamId(3), ["all", "", "or none"])
        .unwrap();
    let _ = log.append("").unwrap();
    log.sync().unwrap();
}

#[test]
fn directories_of_version_1_open() {
    for &(case, expected, compression) in CASES {
        if is_writing() {
            let options = |options: Options| options.timestamps(false).compression(compression);
            let fill = |log: &Wal| write(log, compression);
            write_golden("v1", case, expected, options, fill);
        }
        let copy = copy_of("v1", case);
        let report = inspect::Log::open(Arc::new(OsDisk::new()), copy.path())
            .unwrap()
            .verify(|_| ())
            .unwrap();
        assert!(report.is_ok(), "{case}: {report:?}");
        assert_eq!(report.records, 17);
        let frames = inspect::Log::open(Arc::new(OsDisk::new()), copy.path()).unwrap();
        let frames = frames.frames(Lsn::ZERO).unwrap().map(Result::unwrap);
        let compressed = frames.filter(|frame| frame.stored_bytes < frame.payload.len());
        let batches = if compression == Compression::Off {
            0
        } else {
            12
        };
        assert_eq!(compressed.count(), batches, "{case}");
        let log = Wal::open_with(copy.path(), Options::new().segment_size(8192)).unwrap();
        assert_eq!(log.recovery().case, expected);
        let read: Vec<_> = log
            .read_from(Lsn::ZERO)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let read: Vec<_> = read
            .iter()
            .map(|r| (r.stream.0, r.kind, r.payload.to_vec()))
            .collect();
        assert_eq!(read, records(compression), "{case}");
        let lsn = log.append("goes on").unwrap();
        log.sync_to(lsn).unwrap();
    }
}

/// When the log of version 2 was written, in milliseconds.
const NOON: u64 = 1_800_000_000_000;

/// As [`write()`], and of version 2: a time for each group, a record that is taken back, a
/// consumer.
fn write_marked(log: &Wal) {
    write(log, Compression::Off);
    let wrong = log.append("wrong").unwrap();
    let _void = log.void(wrong, log.end_lsn()).unwrap();
    log.sync().unwrap();
    let mut cursor = log.cursor("billing \"east\"").unwrap();
    let third = log.read_from(Lsn::ZERO).unwrap().nth(2).unwrap().unwrap();
    cursor.advance(third.lsn).unwrap();
    cursor.commit().unwrap();
    drop(log.cursor("audit").unwrap());
    assert!(log.remove_cursor("audit").unwrap());
}

#[test]
fn directories_of_version_2_open() {
    for (case, expected) in [("clean", Case::CleanEnd), ("killed", Case::OpenEnd)] {
        if is_writing() {
            let clock = Arc::new(ManualClock::new(NOON));
            let options = |options: Options| options.clock(clock);
            write_golden("v2", case, expected, options, write_marked);
        }
        let copy = copy_of("v2", case);
        let log = inspect::Log::open(Arc::new(OsDisk::new()), copy.path()).unwrap();
        let report = log.verify(|_| ()).unwrap();
        assert!(report.is_ok(), "{case}: {report:?}");
        let log = Wal::open_with(copy.path(), Options::new().segment_size(8192)).unwrap();
        assert_eq!(log.recovery().case, expected);
        let read = log.read_from(Lsn::ZERO).unwrap().map(Result::unwrap);
        let read: Vec<_> = read
            .map(|r| (r.stream.0, r.kind, r.payload.to_vec()))
            .collect();
        assert_eq!(read, records(Compression::Off), "{case}");
        let cursors = log.cursors();
        assert_eq!((cursors.len(), &*cursors[0].name), (1, "billing \"east\""));
        let cursor = log.cursor("billing \"east\"").unwrap();
        let next = cursor.read().unwrap().next().unwrap().unwrap();
        assert_eq!(next.stream, StreamId(2));
        let noon = UNIX_EPOCH + Duration::from_millis(NOON);
        assert_eq!(log.time_of(next.lsn).unwrap(), Some(noon));
        let _lsn = log.append_sync("goes on").unwrap();
    }
}

fn write_golden(
    version: &str,
    case: &str,
    expected: Case,
    adjust: impl FnOnce(Options) -> Options,
    fill: impl FnOnce(&Wal),
) {
    let sim = SimDisk::new();
    let options = Options::new()
        .segment_size(8192)
        .background(Background::Inline)
        .log_id_seed(1);
    let options = adjust(options).disk(Arc::new(sim.clone()));
    let log = Wal::open_with("/log", options).unwrap();
    fill(&log);
    let sim = if expected == Case::CleanEnd {
        drop(log);
        sim
    } else {
        sim.kill_process()
    };
    let dir = golden(version, case);
    std::fs::create_dir_all(&dir).unwrap();
    for path in sim.files() {
        let name = path.file_name().unwrap();
        if name != "LOCK" {
            std::fs::write(dir.join(name), sim.read_file(&path).unwrap()).unwrap();
        }
    }
}
