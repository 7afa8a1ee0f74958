//! The files of format version 1, as they were and will be (F81, P11).
//!
//! `HIGHWATER_WRITE_GOLDEN=1 cargo test -p highwater-checkpoint --test golden` writes them; only a
//! new format version is a reason to, into a directory of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{MemStore, WRITER, check, filled, options};
use highwater_checkpoint::{Checkpoints, LocalStore, Store};
use highwater_disk::OsDisk;
use std::path::Path;
use std::sync::Arc;

fn golden() -> LocalStore {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    LocalStore::new(Arc::new(OsDisk::new()), dir)
}

/// Two checkpoints, with the writer's id and all times given: the same bytes every time.
fn fresh() -> Arc<MemStore> {
    filled(2)
}

fn copy(from: &dyn Store, to: &dyn Store) {
    to.prepare().unwrap();
    for file in from.list().unwrap() {
        to.put_new(&file.name, &from.get(&file.name, file.size).unwrap())
            .unwrap();
    }
}

#[test]
fn version_1_is_read() {
    if std::env::var_os("HIGHWATER_WRITE_GOLDEN").is_some() {
        copy(&*fresh(), &golden());
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(Arc::new(OsDisk::new()), dir.path()));
    copy(&golden(), &*store);
    let mut checkpoints = Checkpoints::open(store, options(5)).unwrap();
    let newest = checkpoints.newest().unwrap().unwrap();
    check(&newest, 2);
    assert_eq!(newest.manifest().writer, WRITER);
    assert_eq!((newest.number(), newest.manifest().previous), (2, Some(1)));
    assert_eq!(checkpoints.oldest_needed_lsn(), Some(1000));
    common::publish(&mut checkpoints, 3).unwrap();
}

/// A change of the bytes that are written is a change of the format, and shows here.
#[test]
fn version_1_is_written() {
    let (fresh, golden) = (fresh(), golden());
    let listed = golden.list().unwrap();
    assert_eq!(listed, fresh.list().unwrap());
    assert!(listed.len() > 4);
    for file in listed {
        let bytes = golden.get(&file.name, file.size).unwrap();
        assert!(
            bytes == fresh.bytes(&file.name),
            "{} is written differently",
            file.name
        );
    }
}
