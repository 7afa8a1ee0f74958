//! redb, a copy-on-write B-tree with one writer at a time.
//!
//! Its defaults: one-phase commits, and no quick repair, which would make commits slower and
//! opening after a crash faster.

use super::{Appender, Engine, Purpose, Role, Store, keys};
use crate::record::Digest;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;

const RECORDS: TableDefinition<'_, [u8; keys::LEN], &[u8]> = TableDefinition::new("records");

pub struct Redb;

impl Engine for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn role(&self) -> Role {
        Role::Rival
    }

    fn setting(&self) -> &'static str {
        "a transaction per record, Durability::Immediate; defaults"
    }

    fn replays(&self) -> Option<&'static str> {
        Some("nothing checked while reading, in its own cache")
    }

    fn open(&self, dir: &Path, _purpose: Purpose) -> Box<dyn Store> {
        let database = Database::create(dir.join("records.redb")).unwrap();
        let creation = database.begin_write().unwrap();
        creation.open_table(RECORDS).unwrap();
        creation.commit().unwrap();
        Box::new(Open { database })
    }
}

struct Open {
    database: Database,
}

impl Store for Open {
    fn appender(&self, thread: u64) -> Box<dyn Appender + '_> {
        Box::new(Handle {
            database: &self.database,
            thread,
        })
    }

    fn replay(&self, digest: &mut Digest) {
        let reading = self.database.begin_read().unwrap();
        let table = reading.open_table(RECORDS).unwrap();
        for entry in table.iter().unwrap() {
            digest.add(entry.unwrap().1.value());
        }
    }
}

struct Handle<'a> {
    database: &'a Database,
    thread: u64,
}

impl Handle<'_> {
    fn write(&mut self, records: &[impl AsRef<[u8]>], durability: Durability) {
        let mut writing = self.database.begin_write().unwrap();
        writing.set_durability(durability).unwrap();
        let mut table = writing.open_table(RECORDS).unwrap();
        for record in records {
            let record = record.as_ref();
            table.insert(keys::of(self.thread, record), record).unwrap();
        }
        drop(table);
        writing.commit().unwrap();
    }
}

impl Appender for Handle<'_> {
    fn append_durable(&mut self, record: &[u8]) {
        self.write(&[record], Durability::Immediate);
    }

    fn append(&mut self, record: &[u8]) {
        self.write(&[record], Durability::None);
    }

    fn append_batch(&mut self, records: &[Vec<u8>]) {
        self.write(records, Durability::None);
    }

    fn sync(&mut self) {
        self.write(&[] as &[&[u8]], Durability::Immediate);
    }
}
