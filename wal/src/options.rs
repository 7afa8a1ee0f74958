//! Settings of a log.

use crate::cheat::Cheat;
use crate::error::{Result, WalError};
use crate::layout::{
    FORMAT_VERSION, MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE, SEGMENT_ALIGNMENT, max_payload, to_usize,
};
use crate::lsn::StreamId;
use highwater_disk::{Clock, Disk, OsClock, OsDisk};
use std::sync::Arc;
use std::time::Duration;

const DEFAULT_SEGMENT_SIZE: u64 = 64 << 20;
const DEFAULT_MAX_RECORD: usize = 16 << 20;

/// What [`Wal::append_with`](crate::Wal::append_with) and [`Wal::commit`](crate::Wal::commit) wait for. It never
/// changes what [`Wal::sync_to`](crate::Wal::sync_to) means: that returns when the record is on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The record survives a power cut when the call returns.
    #[default]
    Sync,
    /// The call does not wait; a background flush makes the record durable within this time, if the disk keeps up.
    /// A crash of the machine loses what was appended since, a crash of the process alone loses nothing.
    Interval(Duration),
    /// The call does not wait and nothing is flushed before somebody syncs: the operating system writes when it likes.
    /// A crash of the machine may lose everything since the last sync, a crash of the process alone loses nothing.
    Os,
}

/// Who does the work that need not be done by the appender: preparing segments, flushing at intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Background {
    /// Threads of the log's own, ended by [`Wal::close`](crate::Wal::close).
    #[default]
    Thread,
    /// Nobody: the calling thread does it when it is needed. Everything happens in the order of the calls, which
    /// deterministic simulations need.
    Inline,
}

/// Compression of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Records are stored as they are. The format reserves a flag for more.
    #[default]
    Off,
}

/// What becomes of a log on a file system that does not keep what was flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnsafeFileSystem {
    Refused,
    Allowed,
}

/// Settings of a log; the default is right for most.
///
/// ```
/// use highwater_wal::{Durability, Options};
/// let options = Options::new().segment_size(1 << 20).durability(Durability::Os);
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) segment_size: u64,
    max_record: Option<usize>,
    pub(crate) group_commit_wait: Duration,
    pub(crate) durability: Durability,
    pub(crate) background: Background,
    pub(crate) unsafe_file_system: UnsafeFileSystem,
    pub(crate) seed: Option<u64>,
    pub(crate) cheat: Cheat,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            segment_size: DEFAULT_SEGMENT_SIZE,
            max_record: None,
            group_commit_wait: Duration::from_micros(40),
            durability: Durability::Sync,
            background: Background::Thread,
            unsafe_file_system: UnsafeFileSystem::Refused,
            seed: None,
            cheat: Cheat::None,
            disk: Arc::new(OsDisk::new()),
            clock: Arc::new(OsClock::new()),
        }
    }

    /// Size of new segment files in bytes (default 64 MiB): a multiple of 4096 from 8 KiB to 2 GiB. The log is
    /// truncated by whole segments, and one is always prepared ahead. May change between runs.
    #[must_use]
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = bytes;
        self
    }

    /// The largest record or batch in bytes (default 16 MiB, or what fits a segment if that is less).
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record = Some(bytes);
        self
    }

    /// How long a commit waits for the producers that it has just seen, so that they share its flush (default 40 µs).
    /// A producer that is alone never waits. Zero turns it off.
    #[must_use]
    pub fn group_commit_wait(mut self, wait: Duration) -> Self {
        self.group_commit_wait = wait;
        self
    }

    /// What `append_with` and `commit` wait for unless told otherwise (default [`Durability::Sync`]).
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Who prepares segments and flushes (default [`Background::Thread`]).
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// Compression of batches (default, and so far only, [`Compression::Off`]).
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        match compression {
            Compression::Off => self,
        }
    }

    /// Opens the log even on a network file system (NFS, SMB, 9P, ...), which is refused otherwise: locks, maps and flushes
    /// are not promised there, so nothing that this crate promises holds.
    #[must_use]
    pub fn allow_unsafe_file_system(mut self) -> Self {
        self.unsafe_file_system = UnsafeFileSystem::Allowed;
        self
    }

    /// Derives the identity of a new log from `seed` instead of from chance, so that simulations repeat exactly.
    /// Two logs of one identity cannot tell each other's segments apart: never use it for real data.
    #[must_use]
    pub fn log_id_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The disk (default: the machine's).
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// The clock (default: the machine's).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Breaks the log on purpose, to show that the tests notice.
    #[doc(hidden)]
    #[must_use]
    pub fn cheat(mut self, cheat: Cheat) -> Self {
        self.cheat = cheat;
        self
    }

    /// The largest record or batch that the log will accept, in bytes.
    #[must_use]
    pub fn max_record(&self) -> usize {
        let fits = to_usize(max_payload(self.segment_size.max(MIN_SEGMENT_SIZE)));
        self.max_record.unwrap_or(DEFAULT_MAX_RECORD.min(fits))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let size = self.segment_size;
        if !(MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&size)
            || !size.is_multiple_of(SEGMENT_ALIGNMENT)
        {
            return Err(WalError::BadOptions {
                what: format!(
                    "segment_size {size} is not a multiple of {SEGMENT_ALIGNMENT} from {MIN_SEGMENT_SIZE} \
                     to {MAX_SEGMENT_SIZE} (format {FORMAT_VERSION})"
                ),
            });
        }
        let (max, fits) = (self.max_record(), to_usize(max_payload(size)));
        if max > fits {
            return Err(WalError::BadOptions {
                what: format!(
                    "max_record_bytes {max} is over {fits}, the most that fits a segment of {size} bytes"
                ),
            });
        }
        Ok(())
    }
}

/// How one record is appended: which stream it belongs to, and what the call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppendOptions {
    pub(crate) stream: StreamId,
    pub(crate) level: Level,
}

/// Whose durability counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Level {
    #[default]
    OfLog,
    Own(Durability),
}

impl AppendOptions {
    /// The default stream, at the log's own durability.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The stream of the record.
    #[must_use]
    pub fn stream(mut self, stream: StreamId) -> Self {
        self.stream = stream;
        self
    }

    /// What the call waits for, instead of what the log's options say.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.level = Level::Own(durability);
        self
    }
}
