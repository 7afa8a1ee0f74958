//! What is compared: one small trait, one file per engine.

mod bare_direct;
mod bare_mmap;
mod bare_pwrite;
mod fjall;
mod group;
mod highwater;
mod keys;
mod okaywal;
mod raft_engine;
mod raft_log;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sqlite;

use crate::record::{Digest, Records};
use std::path::Path;
use std::time::{Duration, Instant};

/// What an engine is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `highwater-wal`.
    Ours,
    /// A product with the same promise.
    Rival,
    /// No product: the system calls that any product has to make, and nothing else.
    Bound,
}

/// What a store is opened for. Engines that prepare files differently for each say so in their
/// file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Appends; old records may be given up by [`Store::trim`].
    Append,
    /// Holds every record, to be opened after a crash and replayed.
    Replay,
}

/// One engine at its best honest setting.
pub trait Engine: Sync {
    fn name(&self) -> &'static str;
    fn role(&self) -> Role;
    /// The setting, in a few words, for the table of engines.
    fn setting(&self) -> &'static str;
    /// Whether a record can be appended without waiting for the disk.
    fn appends_without_sync(&self) -> bool {
        true
    }
    /// What replay checks of each record and hands out; `None` if there is nothing to replay.
    fn replays(&self) -> Option<&'static str>;
    /// Creates the store in `dir`, or opens what is there.
    fn open(&self, dir: &Path, purpose: Purpose) -> Box<dyn Store>;

    /// Writes `records` into a new store, all of them durable at the end.
    fn fill(&self, dir: &Path, records: &mut Records) -> Box<dyn Store> {
        let store = self.open(dir, Purpose::Replay);
        let mut appender = store.appender(0);
        while let Some(batch) = records.next_batch() {
            appender.append_batch(batch);
        }
        appender.sync();
        drop(appender);
        store
    }

    /// Opens the store as a crash left it and reads every record, in order.
    fn open_and_replay(&self, dir: &Path, digest: &mut Digest) -> OpenAndReplay {
        let start = Instant::now();
        let store = self.open(dir, Purpose::Replay);
        let open = start.elapsed();
        let start = Instant::now();
        store.replay(digest);
        OpenAndReplay {
            open,
            replay: start.elapsed(),
        }
    }
}

/// The times of [`Engine::open_and_replay`].
#[derive(Debug, Clone, Copy)]
pub struct OpenAndReplay {
    pub open: Duration,
    pub replay: Duration,
}

/// An open store.
pub trait Store: Sync {
    /// The handle of one thread, made on that thread.
    fn appender(&self, thread: u64) -> Box<dyn Appender + '_>;
    /// Gives up old records as the engine's user would after a checkpoint. Called during the
    /// appends, so that a long run does not fill the disk. Engines that cannot are bounded by the
    /// bytes of a cell.
    fn trim(&self) {}
    /// Waits for what the store does in the background, so that the next burst of appends finds
    /// room that is ready.
    fn settle(&self) {}
    /// Reads every record, in the order of appending.
    fn replay(&self, digest: &mut Digest);
}

/// The handle of one thread.
pub trait Appender {
    /// Appends one record; durable when this returns.
    fn append_durable(&mut self, record: &[u8]);
    /// Appends one record and does not wait for the disk.
    fn append(&mut self, record: &[u8]);
    /// Appends several, where the engine has a cheaper way than one by one. Only to fill a store.
    fn append_batch(&mut self, records: &[Vec<u8>]) {
        for record in records {
            self.append(record);
        }
    }
    /// Everything appended by this thread is durable when this returns.
    fn sync(&mut self);
}

/// Every engine of this build, in the order of the tables.
pub fn all() -> Vec<Box<dyn Engine>> {
    vec![
        Box::new(highwater::Highwater),
        Box::new(raft_engine::RaftEngine::PLAIN),
        Box::new(raft_engine::RaftEngine::PREFILL),
        Box::new(raft_log::RaftLog),
        Box::new(okaywal::OkayWal::DEFAULTS),
        Box::new(okaywal::OkayWal::LARGE),
        Box::new(fjall::Fjall),
        Box::new(redb::Redb),
        Box::new(sqlite::Sqlite),
        #[cfg(feature = "rocksdb")]
        Box::new(rocksdb::RocksDb),
        Box::new(bare_pwrite::BarePwrite),
        Box::new(bare_direct::BareDirect::AT_ONCE),
        Box::new(bare_direct::BareDirect::COHORT),
        Box::new(bare_mmap::BareMmap),
    ]
}

/// Products that are not run, and why.
pub const NOT_RANKED: [(&str, &str); 3] = [
    (
        "walrus-rust",
        "ignores errors of the disk: on a full disk appends return Ok and the records are gone",
    ),
    (
        "sled",
        "flushes with sync_file_range, which neither commits metadata nor flushes the device's cache",
    ),
    (
        "commitlog",
        "never syncs: its flush hands the records to the operating system only",
    ),
];
