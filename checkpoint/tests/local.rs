//! What a store promises, kept by the local one: on the real disk and on the simulated one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{WRITER, check, options, publish};
use highwater_checkpoint::{CheckpointError, Checkpoints, LocalStore, Store};
use highwater_disk::{Disk, OsDisk, SimDisk};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

const NAME: &str = "manifest-0000000001.json";

fn on_each_disk(test: impl Fn(Arc<dyn Disk>, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    test(Arc::new(OsDisk::new()), &dir.path().join("store"));
    test(Arc::new(SimDisk::new()), Path::new("/a/store"));
}

/// F58: creation never replaces: that is the fence.
#[test]
fn a_name_is_taken_once() {
    on_each_disk(|disk, dir| {
        let store = LocalStore::new(disk, dir);
        store.prepare().unwrap();
        store.put_new(NAME, b"first").unwrap();
        let error = store.put_new(NAME, b"second").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(store.get(NAME, 100).unwrap(), b"first");
        assert_eq!(store.list().unwrap().len(), 1, "no temporary file is left");
        store.prepare().unwrap();
        assert_eq!(store.get(NAME, 100).unwrap(), b"first");
        assert_eq!(store.list().unwrap().len(), 1);
    });
}

#[test]
fn ranges_are_exact_or_refused() {
    on_each_disk(|disk, dir| {
        let store = LocalStore::new(disk, dir);
        store.prepare().unwrap();
        store.put_new(NAME, b"0123456789").unwrap();
        assert_eq!(store.len(NAME).unwrap(), 10);
        assert_eq!(store.get_range(NAME, 3, 4).unwrap(), b"3456");
        assert_eq!(store.get_range(NAME, 10, 0).unwrap(), b"");
        for (offset, len) in [
            (3, 8),
            (11, 0),
            (0, u64::MAX),
            (u64::MAX, 1),
            (1 << 40, 1 << 40),
        ] {
            let error = store.get_range(NAME, offset, len).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{offset} {len}");
        }
        assert_eq!(
            store.get(NAME, 9).unwrap_err().kind(),
            ErrorKind::FileTooLarge
        );
        assert_eq!(
            store.get("absent", 9).unwrap_err().kind(),
            ErrorKind::NotFound
        );
    });
}

#[test]
fn deleting_what_is_not_there_is_fine() {
    on_each_disk(|disk, dir| {
        let store = LocalStore::new(disk, dir);
        store.prepare().unwrap();
        store.put_new(NAME, b"x").unwrap();
        let names = ["absent".to_owned(), NAME.to_owned()];
        store.delete(&names).unwrap();
        store.delete(&names).unwrap();
        assert!(store.list().unwrap().is_empty());
    });
}

/// F87: no name leads out of the directory.
#[test]
fn a_name_is_one_plain_component() {
    on_each_disk(|disk, dir| {
        let store = LocalStore::new(disk, dir);
        store.prepare().unwrap();
        for name in ["../x", "/x", "a/b", "", ".", "..", "a\0"] {
            let kinds = [
                store.put_new(name, b"").unwrap_err().kind(),
                store.len(name).unwrap_err().kind(),
                store.get(name, 1).unwrap_err().kind(),
                store.get_range(name, 0, 0).unwrap_err().kind(),
                store.delete(&[name.to_owned()]).unwrap_err().kind(),
            ];
            assert_eq!(kinds, [ErrorKind::InvalidInput; 5], "{name:?}");
        }
    });
}

/// Looking at a place that does not exist creates nothing.
#[test]
fn inspecting_writes_nothing() {
    on_each_disk(|disk, dir| {
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(disk.clone(), dir));
        let error = Checkpoints::inspect(&store).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
        );
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("cannot list {}: ", dir.display()))
                && text.contains("os error 2"),
            "{text}"
        );
        assert!(disk.list(dir).is_err());
    });
    let disk = SimDisk::new();
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(Arc::new(disk.clone()), "/c"));
    let mut checkpoints = Checkpoints::open(store.clone(), options(1)).unwrap();
    publish(&mut checkpoints, 1).unwrap();
    disk.put_file(
        "/c/state-0000000001-00000000000000aa-00000.hws",
        b"left over".to_vec(),
    );
    let before = disk.mutations();
    Checkpoints::inspect(&store).unwrap();
    assert_eq!(disk.mutations(), before);
}

const CHILD: &str = "HIGHWATER_CHECKPOINT_CHDIR";

/// The part of [`a_store_stays_where_it_was_after_chdir`] that runs in a process of its own.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD).map(std::path::PathBuf::from) else {
        return;
    };
    std::env::set_current_dir(dir.join("home")).unwrap();
    let local = LocalStore::new(Arc::new(OsDisk::new()), "checkpoints");
    assert_eq!(local.dir(), dir.join("home/checkpoints"));
    std::env::set_current_dir(dir.join("other")).unwrap();
    let store: Arc<dyn Store> = Arc::new(local);
    let mut checkpoints = Checkpoints::open(Arc::clone(&store), options(WRITER)).unwrap();
    for n in 1..=3 {
        publish(&mut checkpoints, n).unwrap();
        checkpoints.retire().unwrap();
    }
    check(&checkpoints.newest().unwrap().unwrap(), 3);
    let nowhere = LocalStore::new(Arc::new(OsDisk::new()), "");
    assert!(nowhere.prepare().is_err() && nowhere.list().is_err());
}

/// Case 24: a relative directory is the one that it was when the store was made.
#[test]
fn a_store_stays_where_it_was_after_chdir() {
    let dir = tempfile::tempdir().unwrap();
    let disk = OsDisk::new();
    for name in ["home", "other"] {
        disk.create_dir_all(&dir.path().join(name)).unwrap();
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child"])
        .env(CHILD, dir.path())
        .status()
        .unwrap();
    assert!(child.success());
    assert!(disk.list(&dir.path().join("other")).unwrap().is_empty());
    assert!(
        !disk
            .list(&dir.path().join("home/checkpoints"))
            .unwrap()
            .is_empty()
    );
}
