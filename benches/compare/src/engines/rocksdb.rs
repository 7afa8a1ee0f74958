//! RocksDB: a write with `sync` per record, its own group commit.
//!
//! WAL files are recycled, so that a sync need not commit new extents. Nothing is compressed: the
//! records do not.

use super::{Appender, Engine, Purpose, Role, Store, keys};
use crate::record::Digest;
use rocksdb::{DB, IteratorMode, Options, WriteBatch, WriteOptions};
use std::path::Path;

pub struct RocksDb;

impl Engine for RocksDb {
    fn name(&self) -> &'static str {
        "rocksdb"
    }

    fn role(&self) -> Role {
        Role::Rival
    }

    fn setting(&self) -> &'static str {
        "WriteOptions::sync, 4 WAL files recycled, no compression"
    }

    fn replays(&self) -> Option<&'static str> {
        Some("checksum per block; merged from memory and tables")
    }

    fn open(&self, dir: &Path, _purpose: Purpose) -> Box<dyn Store> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_recycle_log_file_num(4);
        options.set_compression_type(rocksdb::DBCompressionType::None);
        let mut sync = WriteOptions::default();
        sync.set_sync(true);
        Box::new(Open {
            db: DB::open(&options, dir).unwrap(),
            sync,
            lazy: WriteOptions::default(),
        })
    }
}

struct Open {
    db: DB,
    sync: WriteOptions,
    lazy: WriteOptions,
}

impl Store for Open {
    fn appender(&self, thread: u64) -> Box<dyn Appender + '_> {
        Box::new(Handle {
            store: self,
            thread,
        })
    }

    fn replay(&self, digest: &mut Digest) {
        for entry in self.db.iterator(IteratorMode::Start) {
            digest.add(&entry.unwrap().1);
        }
    }
}

struct Handle<'a> {
    store: &'a Open,
    thread: u64,
}

impl Handle<'_> {
    fn put(&self, record: &[u8], options: &WriteOptions) {
        let key = keys::of(self.thread, record);
        self.store.db.put_opt(key, record, options).unwrap();
    }
}

impl Appender for Handle<'_> {
    fn append_durable(&mut self, record: &[u8]) {
        self.put(record, &self.store.sync);
    }

    fn append(&mut self, record: &[u8]) {
        self.put(record, &self.store.lazy);
    }

    fn append_batch(&mut self, records: &[Vec<u8>]) {
        let mut batch = WriteBatch::default();
        for record in records {
            batch.put(keys::of(self.thread, record), record);
        }
        self.store.db.write_opt(batch, &self.store.lazy).unwrap();
    }

    fn sync(&mut self) {
        self.store.db.flush_wal(true).unwrap();
    }
}
