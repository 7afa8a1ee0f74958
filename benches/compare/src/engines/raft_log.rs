//! raft-log, the log of one Raft node. A writer has it for itself, so that the threads share it
//! behind a lock, which they let go before they wait: its own thread flushes for all who asked.
//! Records are entries with consecutive indexes. Files of 64 MiB; its cache of entries is bounded,
//! so that memory does not decide. Nothing is made ready ahead: each append lengthens its file.

use super::{Appender, Engine, Purpose, Role, Store};
use crate::record::Digest;
use parking_lot::Mutex;
use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::{Config, Types, chunked_wal};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

const FILE_BYTES: usize = 64 << 20;
const CACHE_BYTES: usize = 64 << 20;
const TERM: u64 = 1;

pub struct RaftLog;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Entries;

impl Types for Entries {
    /// Term and index.
    type LogId = (u64, u64);
    type LogPayload = Vec<u8>;
    type Vote = (u64, u64);
    type Callback = SyncSender<io::Result<()>>;
    type UserData = String;

    fn log_index(id: &(u64, u64)) -> u64 {
        id.1
    }

    fn payload_size(payload: &Vec<u8>) -> u64 {
        payload.len() as u64
    }
}

impl Engine for RaftLog {
    fn name(&self) -> &'static str {
        "raft-log"
    }

    fn role(&self) -> Role {
        Role::Rival
    }

    fn setting(&self) -> &'static str {
        "one log behind a lock, 64 MiB files, 64 MiB cache"
    }

    fn replays(&self) -> Option<&'static str> {
        Some("CRC, each entry decoded into memory of its own; opening reads all of them too")
    }

    fn open(&self, dir: &Path, _purpose: Purpose) -> Box<dyn Store> {
        let config = Config {
            wal: chunked_wal::Config {
                dir: dir.to_str().expect("a printable path").to_owned(),
                chunk_max_records: Some(FILE_BYTES / 64),
                chunk_max_size: Some(FILE_BYTES),
                ..chunked_wal::Config::default()
            },
            log_cache_max_items: None,
            log_cache_capacity: Some(CACHE_BYTES),
        };
        let log = raft_log::RaftLog::open(Arc::new(config)).unwrap();
        let last = log.log_state().last().map(|(_, index)| *index);
        Box::new(Open {
            log: Mutex::new(Log {
                next: last.map_or(0, |last| last + 1),
                log,
            }),
        })
    }
}

struct Log {
    log: raft_log::RaftLog<Entries>,
    next: u64,
}

impl Log {
    fn append(&mut self, record: &[u8]) {
        let id = (TERM, self.next);
        self.log.append([(id, record.to_vec())]).unwrap();
        self.next += 1;
    }
}

struct Open {
    log: Mutex<Log>,
}

impl Store for Open {
    fn appender(&self, _thread: u64) -> Box<dyn Appender + '_> {
        Box::new(Handle { log: &self.log })
    }

    fn trim(&self) {
        let mut log = self.log.lock();
        if let Some(last) = log.log.log_state().last().copied() {
            log.log.purge(last).unwrap();
        }
    }

    fn settle(&self) {
        self.log.lock().log.wait_worker_idle().unwrap();
    }

    fn replay(&self, digest: &mut Digest) {
        let log = self.log.lock();
        for entry in log.log.read(0, log.next) {
            let (_, record) = entry.unwrap();
            digest.add(&record);
        }
    }
}

struct Handle<'a> {
    log: &'a Mutex<Log>,
}

impl Handle<'_> {
    /// Asks for a flush, with the lock held, and waits for it without.
    fn flush(mut log: parking_lot::MutexGuard<'_, Log>) {
        let (told, done) = sync_channel(1);
        log.log.flush(true, Some(told)).unwrap();
        drop(log);
        done.recv().unwrap().unwrap();
    }
}

impl Appender for Handle<'_> {
    fn append_durable(&mut self, record: &[u8]) {
        let mut log = self.log.lock();
        log.append(record);
        Self::flush(log);
    }

    /// In its buffer: the next flush takes it along.
    fn append(&mut self, record: &[u8]) {
        self.log.lock().append(record);
    }

    fn sync(&mut self) {
        Self::flush(self.log.lock());
    }
}
