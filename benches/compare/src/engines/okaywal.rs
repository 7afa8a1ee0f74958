//! okaywal.
//!
//! Files of 64 MiB instead of its 1 MiB default, written before use and recycled by its own checkpoints: with the
//! default every 768 KiB would pay for a change of file. A buffer of 64 KiB, so that a 16 KiB record is one write.

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

pub struct OkayWal;

impl Engine for OkayWal {
    fn name(&self) -> &'static str {
        "okaywal"
    }

    fn role(&self) -> Role {
        Role::Rival
    }

    fn setting(&self) -> &'static str {
        "64 MiB files written before use and recycled, 64 KiB buffer"
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
            log: open(dir, purpose, Reading::default()),
        })
    }

    /// Many records as the chunks of one entry: one sync each would take minutes, and reading a chunk or an entry
    /// costs the same.
    fn fill(&self, dir: &Path, records: &mut Records) -> Box<dyn Store> {
        let log = open(dir, Purpose::Replay, Reading::default());
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
        let log = open(dir, Purpose::Replay, reading.clone());
        let took = start.elapsed();
        *digest = std::mem::take(&mut reading.0.lock().digest);
        drop(log);
        OpenAndReplay {
            open: took,
            replay: took,
        }
    }
}

fn open(dir: &Path, purpose: Purpose, reading: Reading) -> WriteAheadLog {
    let checkpoint = match purpose {
        Purpose::Append => CHECKPOINT_BYTES,
        // A checkpoint frees the records.
        Purpose::Replay => u64::MAX,
    };
    Configuration::default_for(dir)
        .preallocate_bytes(FILE_SIZE_BYTES)
        .checkpoint_after_bytes(checkpoint)
        .buffer_bytes(BUFFER_BYTES)
        .open(reading)
        .unwrap()
}

/// Receives what opening finds; checkpoints have nothing to do, so files are free for reuse at once.
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
