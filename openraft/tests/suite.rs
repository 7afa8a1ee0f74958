//! The suite that openraft has for log stores.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Machine, Types};
use highwater_openraft::{LogStore, Settings};
use highwater_wal::disk::SimDisk;
use highwater_wal::{Background, Options};
use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;

/// Stores in directories of the machine's disk.
struct OnDisk;

impl StoreBuilder<Types, LogStore<Types>, Machine, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, LogStore<Types>, Machine), StorageError<u64>> {
        let dir = tempfile::tempdir().unwrap();
        let store = LogStore::open(dir.path().join("log")).unwrap();
        Ok((dir, store, Machine::default()))
    }
}

/// Stores on simulated disks, with segments that a few entries fill.
struct Simulated;

impl StoreBuilder<Types, LogStore<Types>, Machine> for Simulated {
    async fn build(&self) -> Result<((), LogStore<Types>, Machine), StorageError<u64>> {
        let log = Options::new()
            .disk(Arc::new(SimDisk::new()))
            .background(Background::Inline)
            .segment_size(8 << 10);
        let settings = Settings::new().log(log).cleaner_thread(false);
        let settings = settings.max_pending_bytes(64).max_read_bytes(64);
        let store = LogStore::open_with("/log", settings).unwrap();
        Ok(((), store, Machine::default()))
    }
}

#[test]
fn the_suite_of_openraft_passes() {
    Suite::test_all(OnDisk).unwrap();
}

#[test]
fn the_suite_of_openraft_passes_with_small_segments() {
    Suite::test_all(Simulated).unwrap();
}
