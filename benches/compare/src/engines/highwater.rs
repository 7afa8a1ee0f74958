//! `highwater-wal`, through its public interface only.

use super::{Appender, Engine, Purpose, Role, Store};
use crate::record::Digest;
use highwater_wal::{Lsn, Options, Wal};
use std::path::Path;

/// The log with its defaults: what a user gets who sets nothing.
pub struct Highwater;

impl Engine for Highwater {
    fn name(&self) -> &'static str {
        "highwater-wal"
    }

    fn role(&self) -> Role {
        Role::Ours
    }

    fn setting(&self) -> &'static str {
        "defaults: 64 MiB segments, group commit wait of at most 40 µs"
    }

    fn replays(&self) -> Option<&'static str> {
        Some("CRC, in place")
    }

    fn open(&self, dir: &Path, _purpose: Purpose) -> Box<dyn Store> {
        Box::new(Open {
            wal: Wal::open_with(dir, Options::new()).unwrap(),
        })
    }
}

struct Open {
    wal: Wal,
}

impl Store for Open {
    fn appender(&self, _thread: u64) -> Box<dyn Appender + '_> {
        Box::new(Handle { wal: &self.wal })
    }

    fn trim(&self) {
        self.wal.truncate_before(self.wal.durable_lsn()).unwrap();
    }

    fn replay(&self, digest: &mut Digest) {
        let mut reader = self.wal.read_from(Lsn::ZERO).unwrap();
        while let Some(frame) = reader.next_frame().unwrap() {
            for record in frame.records() {
                digest.add(&record);
            }
        }
    }
}

struct Handle<'a> {
    wal: &'a Wal,
}

impl Appender for Handle<'_> {
    fn append_durable(&mut self, record: &[u8]) {
        let lsn = self.wal.append(record).unwrap();
        self.wal.sync_to(lsn).unwrap();
    }

    fn append(&mut self, record: &[u8]) {
        let _ordered = self.wal.append(record).unwrap();
    }

    fn sync(&mut self) {
        self.wal.sync().unwrap();
    }
}
