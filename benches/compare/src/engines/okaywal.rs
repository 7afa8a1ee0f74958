//! okaywal, in two settings, because neither is better everywhere. Its defaults: 1 MiB files,
//! recycled while they are still in the caches, but a change of file every 768 KiB. And 64 MiB
//! files with a buffer of 64 KiB: fewer changes of file, a 16 KiB record in one write. Its files
//! are written before use and recycled by its own checkpoints.

use super::{Appender, Engine, OpenAndReplay, Purpose, Role, Store};
use crate::record::{Digest, Records};
use okaywal::{
    Configuration, Entry, EntryId, LogManager, ReadChunkResult, SegmentReader, WriteAheadLog,
};
use parking_lot::Mutex;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const FILE_SIZE_BYTES: u32 = 64 << 20;
const CHECKPOINT_BYTES: u64 = 60 << 20;
const BUFFER_BYTES: usize = 64 << 10;

pub struct OkayWal {
    large: bool,
}

impl OkayWal {
    pub const DEFAULTS: Self = Self { large: false };
    pub const LARGE: Self = Self { large: true };

    fn open_log(&self, dir: &Path, purpose: Purpose, reading: Reading) -> WriteAheadLog {
        let mut configuration = Configuration::default_for(dir);
        if self.large {
            configuration = configuration
                .preallocate_bytes(FILE_SIZE_BYTES)
                .checkpoint_after_bytes(CHECKPOINT_BYTES)
                .buffer_bytes(BUFFER_BYTES);
        }
        if purpose == Purpose::Replay {
            // A checkpoint frees the records.
            configuration = configuration.checkpoint_after_bytes(u64::MAX);
        }
        configuration.open(reading).unwrap()
    }
}

impl Engine for OkayWal {
    fn name(&self) -> &'static str {
        if self.large { "okaywal-64m" } else { "okaywal" }
    }

    fn role(&self) -> Role {
        Role::Rival
    }

    fn setting(&self) -> &'static str {
        if self.large {
            "64 MiB files, 64 KiB buffer"
        } else {
            "defaults: 1 MiB files, 16 KiB buffer"
        }
    }

    /// Its only commit syncs.
    fn appends_without_sync(&self) -> bool {
        false
    }

    fn replays(&self) -> Option<&'static str> {
        Some("CRC, copied; happens inside open")
    }

    fn open(&self, dir: &Path, purpose: Purpose) -> Box<dyn Store> {
        Box::new(Open {
            log: self.open_log(dir, purpose, Reading::default()),
        })
    }

    /// Many records as the chunks of one entry: one sync each would take minutes, and reading a
    /// chunk or an entry costs the same.
    fn fill(&self, dir: &Path, records: &mut Records) -> Box<dyn Store> {
        let log = self.open_log(dir, Purpose::Replay, Reading::default());
        while let Some(batch) = records.next_batch() {
            let mut entry = log.begin_entry().unwrap();
            for record in batch {
                entry.write_chunk(record).unwrap();
            }
            entry.commit().unwrap();
        }
        Box::new(Open { log })
    }

    /// Opening hands out every record that no checkpoint has covered: the two cannot be told apart.
    fn open_and_replay(&self, dir: &Path, digest: &mut Digest) -> OpenAndReplay {
        let reading = Reading::default();
        let start = Instant::now();
        let log = self.open_log(dir, Purpose::Replay, reading.clone());
        let took = start.elapsed();
        *digest = std::mem::take(&mut reading.0.lock().digest);
        drop(log);
        OpenAndReplay {
            open: took,
            replay: took,
        }
    }
}

/// Receives what opening finds; checkpoints have nothing to do, so files are free for reuse at
/// once.
#[derive(Debug, Default, Clone)]
struct Reading(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    digest: Digest,
    buffer: Vec<u8>,
}

impl LogManager for Reading {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let mut found = self.0.lock();
        let Found { digest, buffer } = &mut *found;
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            buffer.clear();
            chunk.read_to_end(buffer)?;
            assert!(chunk.check_crc()?, "a record is damaged");
            digest.add(buffer);
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _wal: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

struct Open {
    log: WriteAheadLog,
}

impl Store for Open {
    fn appender(&self, _thread: u64) -> Box<dyn Appender + '_> {
        Box::new(Handle { log: &self.log })
    }

    fn replay(&self, _digest: &mut Digest) {
        unreachable!("okaywal replays while it opens");
    }
}

struct Handle<'a> {
    log: &'a WriteAheadLog,
}

impl Appender for Handle<'_> {
    fn append_durable(&mut self, record: &[u8]) {
        let mut entry = self.log.begin_entry().unwrap();
        entry.write_chunk(record).unwrap();
        entry.commit().unwrap();
    }

    fn append(&mut self, _record: &[u8]) {
        unreachable!("okaywal has no append without sync");
    }

    fn sync(&mut self) {}
}
