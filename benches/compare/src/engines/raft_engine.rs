//! raft-engine, the log of TiKV.
//!
//! Each thread writes to a Raft group of its own, as in a multi-Raft store, because the indexes of
//! a group must be consecutive. Records are entries, not key-value pairs, whose values the engine
//! would keep in memory. Compression is off: the records do not compress, so it would only cost
//! time. Recycling is on (its default).

use super::{Appender, Engine, Purpose, Role, Store};
use crate::record::Digest;
use crate::run::sync_file_system;
use parking_lot::Mutex;
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, LogBatch, MessageExt, ReadableSize};
use std::path::Path;

const FILE_SIZE_MIB: u64 = 64;
/// Files are purged above this size; prefilling makes 1.5 times as much, so that no append meets a
/// fresh extent.
const PURGE_THRESHOLD_MIB: u64 = 256;
/// How many entries replay asks for at a time.
const REPLAY_STEP: u64 = 1024;

pub struct RaftEngine {
    prefill: bool,
}

impl RaftEngine {
    pub const PLAIN: Self = Self { prefill: false };
    pub const PREFILL: Self = Self { prefill: true };
}

impl Engine for RaftEngine {
    fn name(&self) -> &'static str {
        if self.prefill {
            "raft-engine-prefill"
        } else {
            "raft-engine"
        }
    }

    fn role(&self) -> Role {
        Role::Rival
    }

    fn setting(&self) -> &'static str {
        if self.prefill {
            "one group per thread, no compression, 64 MiB files recycled, 384 MiB of them filled at open"
        } else {
            "one group per thread, no compression, 64 MiB files recycled"
        }
    }

    fn replays(&self) -> Option<&'static str> {
        Some("CRC, each entry decoded into memory of its own")
    }

    fn open(&self, dir: &Path, purpose: Purpose) -> Box<dyn Store> {
        let config = Config {
            dir: dir.to_str().expect("a printable path").to_owned(),
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize::mb(FILE_SIZE_MIB),
            purge_threshold: match purpose {
                Purpose::Append => ReadableSize::mb(PURGE_THRESHOLD_MIB),
                Purpose::Replay => ReadableSize::gb(1024),
            },
            // What is opened after a crash is not to be prefilled again: that would be charged to
            // the opening.
            prefill_for_recycle: self.prefill && purpose == Purpose::Append,
            ..Config::default()
        };
        let engine = raft_engine::Engine::open(config).unwrap();
        if self.prefill && purpose == Purpose::Append {
            // What was filled is on the disk before the first append: its writing is not charged to
            // the appends.
            sync_file_system(dir);
        }
        Box::new(Open {
            engine,
            trimming: Mutex::new(()),
        })
    }
}

struct Open {
    engine: raft_engine::Engine,
    trimming: Mutex<()>,
}

/// An entry is a protobuf message; its index is the first eight bytes of the record.
struct Entries;

impl MessageExt for Entries {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        crate::record::index(entry.get_value())
    }
}

impl Store for Open {
    fn appender(&self, thread: u64) -> Box<dyn Appender + '_> {
        Box::new(Handle {
            engine: &self.engine,
            group: thread + 1,
            batch: LogBatch::default(),
        })
    }

    fn trim(&self) {
        let _one_at_a_time = self.trimming.lock();
        for group in self.engine.raft_groups() {
            if let Some(last) = self.engine.last_index(group) {
                self.engine.compact_to(group, last);
            }
        }
        self.engine.purge_expired_files().unwrap();
    }

    fn replay(&self, digest: &mut Digest) {
        let mut entries = Vec::new();
        for group in self.engine.raft_groups() {
            let (Some(first), Some(last)) = (
                self.engine.first_index(group),
                self.engine.last_index(group),
            ) else {
                continue;
            };
            let mut from = first;
            while from <= last {
                let to = last.min(from + REPLAY_STEP - 1) + 1;
                entries.clear();
                self.engine
                    .fetch_entries_to::<Entries>(group, from, to, None, &mut entries)
                    .unwrap();
                for entry in &entries {
                    digest.add(entry.get_value());
                }
                from = to;
            }
        }
    }
}

struct Handle<'a> {
    engine: &'a raft_engine::Engine,
    group: u64,
    batch: LogBatch,
}

impl Handle<'_> {
    fn write(&mut self, records: &[impl AsRef<[u8]>], sync: bool) {
        let entries: Vec<BytesValue> = records
            .iter()
            .map(|record| {
                let mut entry = BytesValue::new();
                entry.set_value(record.as_ref().to_vec());
                entry
            })
            .collect();
        self.batch
            .add_entries::<Entries>(self.group, &entries)
            .unwrap();
        self.engine.write(&mut self.batch, sync).unwrap();
    }
}

impl Appender for Handle<'_> {
    fn append_durable(&mut self, record: &[u8]) {
        self.write(&[record], true);
    }

    fn append(&mut self, record: &[u8]) {
        self.write(&[record], false);
    }

    fn append_batch(&mut self, records: &[Vec<u8>]) {
        self.write(records, false);
    }

    /// `Engine::sync` writes an empty batch, and an empty batch returns before anything is synced;
    /// so a small value that is synced takes its place.
    fn sync(&mut self) {
        self.batch
            .put(self.group, b"synced".to_vec(), b"yes".to_vec())
            .unwrap();
        self.engine.write(&mut self.batch, true).unwrap();
    }
}
