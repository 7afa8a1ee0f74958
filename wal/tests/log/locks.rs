//! One writer.
#![expect(
    clippy::disallowed_methods,
    reason = "the test meddles with the directory from outside"
)]

use crate::common::{contents, options, payloads};
use highwater_wal::disk::{OsDisk, SimDisk};
use highwater_wal::{Lsn, Wal, WalError, inspect};
use std::path::Path;
use std::sync::Arc;

fn assert_locked(path: &Path) {
    let error = Wal::open_with(path, options()).unwrap_err();
    let pid = std::process::id();
    assert!(
        matches!(&error, WalError::Locked { pid: Some(p), .. } if *p == pid),
        "{error}"
    );
    assert!(error.to_string().contains(&pid.to_string()), "{error}");
}

/// F45, F47: refused, also through a symbolic link, also when the lock file was deleted; and
/// nothing is changed.
#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Wal::open_with(&path, options()).unwrap();
    assert_locked(&path);
    std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
    assert_locked(&dir.path().join("link"));
    std::fs::remove_file(path.join("LOCK")).unwrap();
    assert!(matches!(
        Wal::open_with(&path, options()),
        Err(WalError::Locked { pid: None, .. })
    ));
    assert!(
        !path.join("LOCK").exists(),
        "nothing is written before the lock is held"
    );
    let lsn = log.append("x").unwrap();
    log.sync_to(lsn).unwrap();
    log.close().unwrap();
    assert_eq!(
        contents(&Wal::open_with(&path, options()).unwrap()),
        payloads(["x"])
    );
}

/// F46: the lock goes with its holder; the file that it leaves means nothing.
#[test]
fn a_dead_holder_needs_no_cleaning() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options().disk(Arc::new(sim.clone()))).unwrap();
    assert!(matches!(
        Wal::open_with("/log", options().disk(Arc::new(sim.clone()))),
        Err(WalError::Locked { .. })
    ));
    let next = sim.kill_process();
    drop(log);
    Wal::open_with("/log", options().disk(Arc::new(next))).unwrap();
}

#[test]
fn a_file_in_place_of_the_directory_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let error = Wal::open_with(&path, options()).unwrap_err();
    assert!(matches!(error, WalError::BadDirectory { .. }), "{error}");
    assert!(error.to_string().contains("file"), "{error}");
    assert!(inspect::Log::open(Arc::new(OsDisk::new()), &path).is_err());
}

/// Tools may look while another process writes.
#[test]
fn inspection_needs_no_lock_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let lsn = log.append_batch(["a", "b"]).unwrap();
    log.sync_to(lsn.first).unwrap();
    let looked = inspect::Log::open(Arc::new(OsDisk::new()), dir.path()).unwrap();
    let report = looked.verify(|_| ()).unwrap();
    assert!(report.is_ok() && report.records == 2, "{report:?}");
    let frames: Vec<_> = looked
        .frames(Lsn::ZERO)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(frames[0].records(), [b"a", b"b"]);
    assert_eq!(looked.segments().unwrap()[0].state.to_string(), "live");
    let empty = tempfile::tempdir().unwrap();
    assert!(inspect::Log::open(Arc::new(OsDisk::new()), empty.path()).is_err());
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}
