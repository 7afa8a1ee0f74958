//! A relative directory is the one that it was when it was given, wherever the process goes later
//! (as a daemon does: `chdir("/")`), whatever lies there. In processes of their own, because the
//! working directory belongs to the process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests look at what really lies in directories"
)]

mod common;

use common::process::{command, role, run, say};
use highwater_wal::disk::{Disk, OsDisk, SimDisk};
use highwater_wal::{Background, Lsn, Options, Wal, WalError, WritePath, inspect};
use std::path::Path;
use std::sync::Arc;

const PATHS: [WritePath; 2] = [WritePath::Auto, WritePath::PageCache];

/// What is run in a process of its own, if this is one.
#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    let (home, other) = (dir.join("home"), dir.join("other"));
    std::env::set_current_dir(&home).unwrap();
    match role.as_str() {
        "write" => write(&other),
        "look" => look(&other),
        "repair" => repair(&home, &other),
        "gone" => gone(&dir),
        other => panic!("{other}"),
    }
    say("done");
}

/// Segments are made, recycled and removed, `LOG` is replaced and the log closed after the change.
fn write(other: &Path) {
    for (index, path) in PATHS.into_iter().enumerate() {
        for background in [Background::Thread, Background::Inline] {
            let name = format!("log-{index}-{background:?}");
            let options = Options::new().segment_size(64 << 10).write_path(path);
            let options = options.background(background);
            let home = std::env::current_dir().unwrap();
            let log = Wal::open_with(Path::new("./").join(&name), options).unwrap();
            assert_eq!(log.dir(), home.join(&name));
            std::env::set_current_dir(other).unwrap();
            for n in 0..400 {
                let lsn = log.append([1; 1000]).unwrap();
                log.sync_to(lsn).unwrap();
                if n % 50 == 49 {
                    log.truncate_before(lsn).unwrap();
                }
            }
            assert!(log.read_from(Lsn::ZERO).unwrap().count() > 0);
            log.close().unwrap();
            std::env::set_current_dir(&home).unwrap();
            let log = Wal::open(&name).unwrap();
            assert!(log.end_lsn().get() > 400_000);
        }
    }
}

fn fill(dir: &str) {
    let log = Wal::open_with(dir, Options::new().segment_size(16 << 10)).unwrap();
    for n in 0..40 {
        let _ = log.append([n; 1000]).unwrap();
    }
    log.close().unwrap();
}

/// Readers of a closed log open its files when they need them.
fn look(other: &Path) {
    fill("log");
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let log = inspect::Log::open(Arc::clone(&disk), "log").unwrap();
    let follow = inspect::Log::open(disk, "log").unwrap().follow(Lsn::ZERO);
    std::env::set_current_dir(other).unwrap();
    assert!(log.verify(|_| ()).unwrap().is_ok());
    assert_eq!(log.stats(Lsn::ZERO, |_| ()).unwrap().total.records, 40);
    assert!(follow.unwrap().poll().unwrap().is_some());
    let frames = log.frames(Lsn::ZERO).unwrap();
    assert!(frames.map(Result::unwrap).count() > 40);
}

/// The working directory changes while the copy is made: `progress` is called in the midst of it.
fn repair(home: &Path, other: &Path) {
    fill("log");
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let away = |_| std::env::set_current_dir(other).unwrap();
    let repaired = inspect::repair(&disk, "log", "repaired", away).unwrap();
    assert_eq!(repaired.records, 40);
    std::env::set_current_dir(home).unwrap();
    let salvaged = inspect::salvage(&disk, "log", "salvaged", |_| Ok(()), away).unwrap();
    assert_eq!(salvaged.records, 40);
    std::env::set_current_dir(home).unwrap();
    for copy in ["repaired", "salvaged"] {
        assert_eq!(
            Wal::open(copy)
                .unwrap()
                .read_from(Lsn::ZERO)
                .unwrap()
                .count(),
            40
        );
    }
    // The same place under two names was taken for two.
    let inside = inspect::repair(&disk, "log", home.join("log/inside"), |_| ());
    assert!(
        matches!(inside, Err(WalError::BadDirectory { .. })),
        "{inside:?}"
    );
}

/// A working directory that is gone: an error, not a log somewhere.
fn gone(dir: &Path) {
    let gone = dir.join("gone");
    std::fs::create_dir(&gone).unwrap();
    std::env::set_current_dir(&gone).unwrap();
    std::fs::remove_dir(&gone).unwrap();
    let error = Wal::open("log").unwrap_err();
    assert!(matches!(error, WalError::BadDirectory { .. }), "{error}");
}

fn in_process(role: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (home, other) = (dir.path().join("home"), dir.path().join("other"));
    std::fs::create_dir(&home).unwrap();
    std::fs::create_dir(&other).unwrap();
    // What lies in the other place under the same names is not touched either.
    for name in ["log", "log-0-Thread"] {
        std::fs::create_dir(other.join(name)).unwrap();
        std::fs::write(other.join(name).join("LOG"), "not ours").unwrap();
    }
    assert_eq!(run(command(role, dir.path())), ["done"]);
    let left: Vec<_> = std::fs::read_dir(&other).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    for name in ["log", "log-0-Thread"] {
        let files = std::fs::read_dir(other.join(name)).unwrap();
        assert_eq!(files.count(), 1);
        let text = std::fs::read_to_string(other.join(name).join("LOG")).unwrap();
        assert_eq!(text, "not ours");
    }
}

/// Case 24: appends failed at the next segment.
#[test]
fn a_log_goes_on_in_its_directory_after_chdir() {
    in_process("write");
}

#[test]
fn the_tools_read_their_directory_after_chdir() {
    in_process("look");
}

#[test]
fn recovery_tools_write_to_their_directory_after_chdir() {
    in_process("repair");
}

#[test]
fn a_working_directory_that_is_gone_is_an_error() {
    in_process("gone");
}

/// A simulated machine has a root and no working directory; an empty path is nowhere.
#[test]
fn the_simulated_disk_resolves_from_its_root() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let options =
        |disk: &Arc<dyn Disk>| Options::new().segment_size(8 << 10).disk(Arc::clone(disk));
    let log = Wal::open_with("logs/a", options(&disk)).unwrap();
    assert_eq!(log.dir(), Path::new("/logs/a"));
    drop(log);
    drop(Wal::open_with("/logs/a", options(&disk)).unwrap());
    for disk in [disk, Arc::new(OsDisk::new())] {
        let error = Wal::open_with("", Options::new().disk(disk)).unwrap_err();
        assert!(matches!(error, WalError::BadDirectory { .. }), "{error}");
    }
}
