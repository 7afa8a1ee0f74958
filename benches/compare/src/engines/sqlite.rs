//! SQLite through rusqlite, in WAL mode with `synchronous = FULL`: each commit syncs the WAL.
//!
//! All threads share one connection under a lock. With a connection each, threads that wait for the
//! database's lock sleep in the busy handler while others pass them. That gives about as many
//! commits, but single ones wait for seconds. The WAL is checkpointed every 64 MiB instead of every
//! 4 MiB, for each checkpoint syncs twice.

use super::{Appender, Engine, Purpose, Role, Store};
use crate::record::Digest;
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::Path;

const INSERT: &str = "INSERT INTO records (record) VALUES (?1)";

pub struct Sqlite;

impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn role(&self) -> Role {
        Role::Rival
    }

    fn setting(&self) -> &'static str {
        "WAL, synchronous = FULL (NORMAL where no sync is asked for), one connection, checkpoint every 64 MiB"
    }

    fn replays(&self) -> Option<&'static str> {
        Some("nothing checked, in its own cache")
    }

    fn open(&self, dir: &Path, _purpose: Purpose) -> Box<dyn Store> {
        let connect = |synchronous: &str| {
            let connection = Connection::open(dir.join("records.sqlite")).unwrap();
            connection
                .pragma_update(None, "journal_mode", "WAL")
                .unwrap();
            connection
                .pragma_update(None, "synchronous", synchronous)
                .unwrap();
            connection
                .pragma_update(None, "wal_autocheckpoint", 16_384)
                .unwrap();
            connection
                .execute_batch(
                    "CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, record BLOB NOT NULL)",
                )
                .unwrap();
            Mutex::new(connection)
        };
        Box::new(Open {
            full: connect("FULL"),
            normal: connect("NORMAL"),
        })
    }
}

struct Open {
    full: Mutex<Connection>,
    /// Commits without a sync; only checkpoints sync.
    normal: Mutex<Connection>,
}

impl Store for Open {
    fn appender(&self, _thread: u64) -> Box<dyn Appender + '_> {
        Box::new(Handle { store: self })
    }

    fn replay(&self, digest: &mut Digest) {
        let connection = self.full.lock();
        let mut statement = connection
            .prepare("SELECT record FROM records ORDER BY id")
            .unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            digest.add(row.get_ref(0).unwrap().as_blob().unwrap());
        }
    }
}

struct Handle<'a> {
    store: &'a Open,
}

fn insert(connection: &Connection, record: &[u8]) {
    let mut statement = connection.prepare_cached(INSERT).unwrap();
    statement.execute([record]).unwrap();
}

impl Appender for Handle<'_> {
    fn append_durable(&mut self, record: &[u8]) {
        insert(&self.store.full.lock(), record);
    }

    fn append(&mut self, record: &[u8]) {
        insert(&self.store.normal.lock(), record);
    }

    fn append_batch(&mut self, records: &[Vec<u8>]) {
        let connection = self.store.normal.lock();
        connection.execute_batch("BEGIN").unwrap();
        for record in records {
            insert(&connection, record);
        }
        connection.execute_batch("COMMIT").unwrap();
    }

    /// An empty commit syncs nothing; a checkpoint syncs the WAL and then the database.
    fn sync(&mut self) {
        let connection = self.store.full.lock();
        connection
            .query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()))
            .unwrap();
    }
}
