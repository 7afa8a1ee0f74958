//! The choices that a log's settings offer.

use std::time::Duration;

/// What [`Wal::append_with`](crate::Wal::append_with) and [`Wal::commit`](crate::Wal::commit) wait
/// for. It never changes what [`Wal::sync_to`](crate::Wal::sync_to) means: that returns when the
/// record is on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The record survives a power cut when the call returns.
    #[default]
    Sync,
    /// The call does not wait; a background flush makes the record durable within this time, if the
    /// disk keeps up. A crash of the machine loses what was appended since. So does a crash of the
    /// process, unless the log is written through the page cache ([`WritePath`]). That is the
    /// default if this is the durability of the whole log.
    Interval(Duration),
    /// The call does not wait, and nothing is flushed before a thread syncs: the operating system
    /// writes when it likes. Only the append that fills the 64th segment since the last sync (the
    /// second with direct writes) syncs the segments before. A crash of the machine may lose
    /// everything since the last sync, a crash of the process as for [`Self::Interval`].
    Os,
}

/// Which thread does the work that need not be done by the appender: preallocating segments,
/// flushing at intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Background {
    /// Threads of the log's own, ended by [`Wal::close`](crate::Wal::close).
    #[default]
    Thread,
    /// Two threads that serve all logs of the process with this setting, in turn: for many small
    /// logs. They wait in real time, and a log waits while they flush another one or make its
    /// segment. Committing is the work of the calling thread all the same.
    Shared,
    /// The calling thread, when it is needed. Everything happens in the order of the calls, which
    /// deterministic simulations need.
    Inline,
}

/// How appended bytes get to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WritePath {
    /// [`Self::Direct`] where the disk can and the log's [`Durability`] is [`Durability::Sync`];
    /// else [`Self::PageCache`].
    #[default]
    Auto,
    /// Appends are stored in the page cache through a shared map, and syncs write it (`msync`).
    /// Records that are appended but not synced survive the death of the process.
    PageCache,
    /// Appends are stored in memory of the process, and each commit group is one direct write
    /// (`O_DIRECT`, `RWF_DSYNC`). Faster, above all for large groups, and a full or broken disk is
    /// always an error code. Records that are appended but not synced are lost with the process.
    /// Takes memory for five eighths of the segment in use, in a log at rest for one and a half of
    /// it (for one of a mebibyte or less, one).
    Direct,
}

/// How records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ReadPath {
    /// In place, in maps of the segment files. Pages are read in before they are touched. So a
    /// sector that cannot be read is an error that names file and offset. Two things still
    /// raise SIGBUS, for which the kernel ends the process: a page of a payload that is held, if
    /// the system has dropped it and the device cannot read it again; and a file that another
    /// program cuts short under a payload that is held.
    #[default]
    Mapped,
    /// With plain reads into memory of the process: whatever happens to the files is an error. Each
    /// record takes an allocation of its own, a [`Chunk`](crate::Chunk) as many bytes as it is
    /// long. (Writes through the page cache, [`WritePath::PageCache`], go through a map all the
    /// same.)
    Copy,
}

/// Compression of batches: of what is appended with
/// [`Wal::append_batch`](crate::Wal::append_batch). Single records are stored as they are. Logs are
/// read whatever the setting is.
///
/// A build without the feature `zstd` compresses nothing. There a batch that is compressed is an
/// error that names the feature ([`Finding::UnknownFeature`](crate::Finding::UnknownFeature)), when
/// the log is opened or when a reader comes to it; nothing is lost by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Batches are stored as they are.
    #[default]
    Off,
    /// Batches of 512 bytes to 64 MiB are compressed where that saves at least an eighth. While it
    /// does not, only few are tried. The bytes are compressed by the appending thread, outside any
    /// lock.
    #[cfg(feature = "zstd")]
    Zstd {
        /// zstd's level: -7 to 22, from fast to small. The default of zstd is 3; 1 suits logs.
        level: i32,
    },
}

impl Compression {
    /// The level to compress at, if at all.
    pub(crate) fn level(self) -> Option<i32> {
        match self {
            Self::Off => None,
            #[cfg(feature = "zstd")]
            Self::Zstd { level } => Some(level),
        }
    }
}

/// A mechanism that only tunes. `benches/tuning.rs` measures the log without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
#[non_exhaustive]
pub enum Tuning {
    /// The part of the log that is in memory moves along with it (`memory_window.rs`).
    MemoryWindow,
    /// The next segment is zeroed at the pace of the log (`pace.rs`).
    Pace,
}

/// Whether a log may lie on a file system that does not keep what was flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnsafeFileSystem {
    Refused,
    Allowed,
}
