//! F81: directories that format version 1 wrote, kept for ever, opened by the program of today.
//!
//! `HIGHWATER_WRITE_GOLDEN=1 cargo test -p highwater-wal --test golden` writes those of the present
//! version anew; once a version is released its directories never change.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, in its helpers too, and copies directories by itself"
)]

use highwater_wal::disk::{OsDisk, SimDisk};
use highwater_wal::{
    Background, Case, Compression, Lsn, Options, RecordKind, StreamId, Wal, inspect,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is special about a directory: its name, how it was left, whether batches are compressed.
const CASES: &[(&str, Case, Compression)] = &[
    ("clean", Case::CleanEnd, Compression::Off),
    ("killed", Case::OpenEnd, Compression::Off),
    #[cfg(feature = "zstd")]
    ("compressed", Case::OpenEnd, Compression::Zstd { level: 3 }),
];

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/v1")
        .join(case)
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
        if std::env::var_os("HIGHWATER_WRITE_GOLDEN").is_some() {
            write_golden(case, expected, compression);
        }
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(golden(case)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
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

fn write_golden(case: &str, expected: Case, compression: Compression) {
    let sim = SimDisk::new();
    let options = Options::new()
        .segment_size(8192)
        .background(Background::Inline)
        .compression(compression)
        .log_id_seed(1);
    let log = Wal::open_with("/log", options.disk(Arc::new(sim.clone()))).unwrap();
    write(&log, compression);
    let sim = if expected == Case::CleanEnd {
        drop(log);
        sim
    } else {
        sim.kill_process()
    };
    let dir = golden(case);
    std::fs::create_dir_all(&dir).unwrap();
    for path in sim.files() {
        let name = path.file_name().unwrap();
        if name != "LOCK" {
            std::fs::write(dir.join(name), sim.read_file(&path).unwrap()).unwrap();
        }
    }
}
