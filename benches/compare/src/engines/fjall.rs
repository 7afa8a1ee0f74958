//! fjall, an LSM tree whose journal is its log.
//!
//! A durable append is a batch of one that commits with `PersistMode::SyncData`: one turn at the
//! journal instead of two for `insert` and then `persist`. The crate is built without lz4: the
//! records do not compress.

use super::{Appender, Engine, Purpose, Role, Store, keys};
use crate::record::Digest;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

pub struct Fjall;

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn role(&self) -> Role {
        Role::Rival
    }

    fn setting(&self) -> &'static str {
        "a batch of one, committed with PersistMode::SyncData; no compression"
    }

    fn replays(&self) -> Option<&'static str> {
        Some("checksum per block; merged from memory and tables")
    }

    fn open(&self, dir: &Path, _purpose: Purpose) -> Box<dyn Store> {
        let database = Database::builder(dir).open().unwrap();
        let records = database
            .keyspace("records", KeyspaceCreateOptions::default)
            .unwrap();
        Box::new(Open { database, records })
    }
}

struct Open {
    database: Database,
    records: Keyspace,
}

impl Store for Open {
    fn appender(&self, thread: u64) -> Box<dyn Appender + '_> {
        Box::new(Handle {
            store: self,
            thread,
        })
    }

    fn replay(&self, digest: &mut Digest) {
        for entry in self.records.iter() {
            digest.add(&entry.value().unwrap());
        }
    }
}

struct Handle<'a> {
    store: &'a Open,
    thread: u64,
}

impl Handle<'_> {
    fn write(&mut self, records: &[impl AsRef<[u8]>], persist: PersistMode) {
        let mut batch = self.store.database.batch().durability(Some(persist));
        for record in records {
            let record = record.as_ref();
            batch.insert(&self.store.records, keys::of(self.thread, record), record);
        }
        batch.commit().unwrap();
    }
}

impl Appender for Handle<'_> {
    fn append_durable(&mut self, record: &[u8]) {
        self.write(&[record], PersistMode::SyncData);
    }

    fn append(&mut self, record: &[u8]) {
        let key = keys::of(self.thread, record);
        self.store.records.insert(key, record).unwrap();
    }

    fn append_batch(&mut self, records: &[Vec<u8>]) {
        self.write(records, PersistMode::Buffer);
    }

    fn sync(&mut self) {
        self.store.database.persist(PersistMode::SyncData).unwrap();
    }
}
