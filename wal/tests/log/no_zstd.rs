//! A build without the feature `zstd` meets batches that another build compressed: an error that
//! names the feature, and nothing is changed or taken for damage.
#![cfg(not(feature = "zstd"))]
#![allow(
    clippy::disallowed_methods,
    reason = "a test fails by panicking, in its helpers too, and copies directories by itself"
)]

use crate::common::reseal;
use highwater_wal::disk::{Disk, OsDisk, SimDisk};
use highwater_wal::layout::{flag, frame_header};
use highwater_wal::{Background, Finding, Lsn, Options, Wal, WalError, inspect};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn assert_names_the_feature(error: &WalError) {
    assert!(
        matches!(
            error,
            WalError::Corrupt {
                finding: Finding::UnknownFeature,
                ..
            }
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("the feature `zstd` of highwater-wal"),
        "{text}"
    );
    assert!(
        !text.contains("damage") && !text.contains("salvage"),
        "{text}"
    );
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| entry.file_name() != "LOCK");
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// The log that recovery would have to read: a directory of version 1 with compressed batches to
/// its open end.
#[test]
fn a_log_that_ends_in_compressed_batches_is_refused_untouched() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1/compressed");
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in files(&golden) {
        std::fs::write(copy.path().join(name), bytes).unwrap();
    }
    let before = files(copy.path());
    assert_names_the_feature(&Wal::open(copy.path()).unwrap_err());
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let log = inspect::Log::open(Arc::clone(&disk), copy.path()).unwrap();
    let report = log.verify(|_| ()).unwrap();
    assert!(!report.is_ok());
    report.findings.iter().for_each(assert_names_the_feature);
    let to = tempfile::tempdir().unwrap();
    let (repaired, salvaged) = (to.path().join("repaired"), to.path().join("salvaged"));
    let error = inspect::repair(&disk, copy.path(), &repaired, |_| ()).unwrap_err();
    assert_names_the_feature(&error);
    let error = inspect::salvage(&disk, copy.path(), &salvaged, |_| Ok(()), |_| ()).unwrap_err();
    assert_names_the_feature(&error);
    assert_eq!(files(copy.path()), before);
}

/// Compressed batches before the place where recovery begins: readers come to them.
#[test]
fn a_reader_stops_at_a_compressed_batch_and_the_log_goes_on() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let options = Options::new().segment_size(16 << 10).log_id_seed(3);
    let options = options
        .background(Background::Inline)
        .disk(Arc::clone(&disk));
    let log = Wal::open_with("/log", options.clone()).unwrap();
    let before = log.append("before").unwrap();
    let batch = log.append_batch([vec![7; 600], vec![8; 600]]).unwrap();
    let after = log.append("after").unwrap();
    log.close().unwrap();
    drop(log);
    sim.edit("/log/00000000000000000000.wal", |bytes| {
        let at = usize::try_from(batch.first.get()).unwrap();
        bytes[at + frame_header::FLAGS] |= flag::ZSTD;
        reseal(bytes, at);
    });
    let log = Wal::open_with("/log", options).unwrap();
    let mut reader = log.read_from(Lsn::ZERO).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().lsn, before);
    let error = reader.next().unwrap().unwrap_err();
    assert_names_the_feature(&error);
    assert!(matches!(error, WalError::Corrupt { lsn, .. } if lsn == batch.first));
    let lsn = log.append("goes on").unwrap();
    log.sync_to(lsn).unwrap();
    let rest: Vec<_> = log.read_from(after).unwrap().map(Result::unwrap).collect();
    assert_eq!(rest.len(), 2);
    let mut frames = inspect::Log::open(disk, "/log")
        .unwrap()
        .frames(Lsn::ZERO)
        .unwrap();
    let error = frames.find_map(Result::err).unwrap();
    assert_names_the_feature(&error);
}
