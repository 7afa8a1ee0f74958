//! What can go wrong, and what the caller can do about it.

use crate::lsn::Lsn;
use highwater_disk::{DiskError, FileSystem};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of an operation on the log.
pub type Result<T> = std::result::Result<T, WalError>;

/// An error of the log. A variant exists only where a caller would act differently.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// Another handle or process has the log open for writing. Nothing was changed. Close that one,
    /// or read with [`inspect`](crate::inspect).
    #[error("the log in {dir:?} is in use by {}: stop that process, or read with `inspect`, which takes no lock", holder(*.pid))]
    Locked {
        /// Directory of the log.
        dir: PathBuf,
        /// Process that holds it, if its `LOCK` file could be read.
        pid: Option<u32>,
    },

    /// The bytes on disk are damaged below a position that is proven to have been durable. Nothing
    /// was changed.
    #[error("{finding} in {file:?} at offset {offset} (LSN {lsn}): {what}{}", recovery_tools(*finding))]
    Corrupt {
        /// What kind of damage it is.
        finding: Finding,
        /// The damaged file.
        file: PathBuf,
        /// Offset in the file, in bytes.
        offset: u64,
        /// The LSN of that place.
        lsn: Lsn,
        /// What was expected and found, and what to do.
        what: String,
    },

    /// A newer Highwater wrote this log. Nothing was changed: open it with that version.
    #[error(
        "{file:?} has format version {found}, this program reads up to {supported}: use the version of Highwater that wrote it"
    )]
    NewerFormat {
        /// The file that says so.
        file: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest version that this program reads.
        supported: u32,
    },

    /// The path cannot be a log: it is a file, or not accessible.
    #[error("{dir:?} cannot hold a log: {source}{}", remedy(source.kind()))]
    BadDirectory {
        /// The path.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The directory lies on a network file system. Nothing was changed.
    #[error(
        "{dir:?} lies on {kind}, which promises neither that flushed data survives nor that locks hold: put the log on a \
         local disk, or take the risk with `Options::allow_unsafe_file_system`"
    )]
    UnsafeFileSystem {
        /// The directory.
        dir: PathBuf,
        /// Its file system.
        kind: FileSystem,
    },

    /// The settings contradict each other or the limits of the format.
    #[error("bad options: {what}")]
    BadOptions {
        /// Which setting, its value and its limits.
        what: String,
    },

    /// The record is larger than the log accepts; nothing was appended.
    #[error("a record of {size} bytes is over the limit of {max}: split it, or raise {raise}")]
    RecordTooLarge {
        /// Size of the record or batch, in bytes.
        size: usize,
        /// The most that this log accepts.
        max: usize,
        /// The options that are too low for it.
        raise: &'static str,
    },

    /// An earlier write to the log failed. Nothing appended since the last durable LSN may be
    /// acknowledged, and this instance accepts nothing more. Reading goes on; reopen the log to
    /// write again.
    #[error(
        "the log is poisoned: syncing {path:?} at offset {offset} failed: {source}; nothing since then is acknowledged, reopen the log"
    )]
    Poisoned {
        /// The file whose sync failed.
        path: PathBuf,
        /// Where the bytes that were to be synced start.
        offset: u64,
        /// Why it failed.
        source: io::Error,
    },

    /// The log was closed.
    #[error("the log in {dir:?} is closed")]
    Closed {
        /// Directory of the log.
        dir: PathBuf,
    },

    /// The position was truncated away.
    #[error("LSN {asked} was truncated: the log now starts at {first}")]
    Truncated {
        /// The position asked for.
        asked: Lsn,
        /// The oldest position kept.
        first: Lsn,
    },

    /// The position does not exist yet.
    #[error("LSN {asked} does not exist: the log ends at {end}")]
    BeyondEnd {
        /// The position asked for.
        asked: Lsn,
        /// The end of what exists.
        end: Lsn,
    },

    /// The record at the position is appended, but not durable, and is not shown before that. Sync
    /// it, or follow the log with [`Wal::tail`](crate::Wal::tail).
    #[error(
        "LSN {asked} is not durable yet: the log is durable up to {durable} and appended up to {end}; sync it first"
    )]
    NotDurable {
        /// The position asked for.
        asked: Lsn,
        /// Everything below is durable.
        durable: Lsn,
        /// Everything below is appended.
        end: Lsn,
    },

    /// The log has reached its bound ([`Options::max_bytes`](crate::Options::max_bytes)): nothing
    /// was appended. Truncate it, or end the reader or guard that keeps it;
    /// [`Wal::wait_for_room`](crate::Wal::wait_for_room) returns once there is room. Control
    /// records, and those appended with [`Admission::Reserve`](crate::Admission::Reserve), get this
    /// error only when the reserve is used up. Truncating needs neither a record nor room.
    #[error(
        "the log in {dir:?} is full: {used_bytes} of {max_bytes} bytes{}{}. Truncate it or raise `Options::max_bytes`",
        reserve(*reserved_bytes),
        clause(held_by)
    )]
    LogFull {
        /// Directory of the log.
        dir: PathBuf,
        /// The bound.
        max_bytes: u64,
        /// Bytes of the segments that hold the log now, those included that could not be removed.
        used_bytes: u64,
        /// Bytes kept back for control records; 0 if what was refused may use the reserve, and it
        /// is used up.
        reserved_bytes: u64,
        /// What keeps the oldest segment: a reader, a guard, or that the log was not truncated.
        /// Empty in the warning of the thread that makes segments, which does not know.
        held_by: String,
    },

    /// The call would have to wait, and was told not to:
    /// [`Wal::try_append`](crate::Wal::try_append). Nothing was appended. Try again, or wait with
    /// [`Wal::append`](crate::Wal::append) or [`Wal::append_async`](crate::Wal::append_async).
    #[error("appending would wait: {what}")]
    WouldWait {
        /// What for.
        what: &'static str,
    },

    /// A handle of the cursor lives, in this process: there is one at a time. Nothing was changed.
    #[error("the cursor {name:?} is in use: drop its handle first")]
    CursorInUse {
        /// Its name.
        name: String,
    },

    /// There would be too many of something that the log keeps a list of. Nothing was changed.
    #[error("there can be {most} {what}, and there are as many: {remedy}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there can be.
        most: usize,
        /// What to do.
        remedy: &'static str,
    },

    /// A file operation failed without harm to what the log holds: the caller may try again.
    #[error("{op} {path:?}: {source}{}", remedy(source.kind()))]
    Io {
        /// What was being done.
        op: String,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The words of [`Display`](fmt::Display) and of every cause: what `fn main() -> Result<()>` and
/// `unwrap` print.
impl fmt::Debug for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut shown = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !shown.contains(&text) {
                write!(f, ": {text}")?;
                shown.push_str(&text);
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl WalError {
    /// The error of a directory in which the log that was asked for is not.
    pub(crate) fn no_log(dir: &Path, what: &str) -> Self {
        Self::BadDirectory {
            dir: dir.to_owned(),
            source: io::Error::new(io::ErrorKind::NotFound, what.to_owned()),
        }
    }

    pub(crate) fn io(op: impl Into<String>, path: &Path, source: io::Error) -> Self {
        Self::Io {
            op: op.into(),
            path: path.to_owned(),
            source,
        }
    }

    /// Offset in the file that the error names, in bytes: of the damage, of the first byte that
    /// could not be read, of the first byte that was to be synced. `None` if it is about no place
    /// in a file.
    ///
    /// ```
    /// use highwater_wal::WalError;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let error = log.append(vec![0; 1 << 20]).expect_err("it is too large");
    /// assert_eq!(error.offset(), None);
    /// let damage = WalError::Corrupt {
    ///     finding: highwater_wal::Finding::CorruptProven,
    ///     file: "00000000000000000000.wal".into(),
    ///     offset: 4096,
    ///     lsn: highwater_wal::Lsn::new(4096),
    ///     what: "a bad checksum".to_owned(),
    /// };
    /// assert_eq!(damage.offset(), Some(4096));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Corrupt { offset, .. } | Self::Poisoned { offset, .. } => Some(*offset),
            Self::Io { source, .. } => DiskError::of(source)?.offset(),
            _ => None,
        }
    }

    /// The error of closing where the mark of a clean end found no room: what was appended is
    /// durable by then.
    pub(crate) fn of_close_frame(self) -> Self {
        let durable = "everything appended is durable, but the log could not be marked as closed";
        match self {
            Self::Io { op, path, source } => Self::io(format!("{durable}: {op}"), &path, source),
            Self::LogFull { ref dir, .. } => {
                let dir = dir.clone();
                let source = io::Error::new(io::ErrorKind::StorageFull, self);
                Self::io(format!("{durable}: making a segment in"), &dir, source)
            }
            other => other,
        }
    }

    /// Adds to [`Self::LogFull`] what keeps the oldest segment.
    pub(crate) fn held_by(mut self, holder: impl FnOnce() -> String) -> Self {
        if let Self::LogFull { held_by, .. } = &mut self {
            *held_by = holder();
        }
        self
    }

    /// True if the device, or the log's own bound, is full: free space and try again, nothing was
    /// harmed.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).max_bytes(256 << 10);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// for n in 0.. {
    ///     match log.append([0; 9000]) {
    ///         Err(error) if error.is_no_space() => break, // make room, then append again
    ///         appended => log.sync_to(appended?)?,
    ///     }
    /// #   assert!(n < 100);
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::LogFull { .. })
            || matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// For programs whose own errors are those of I/O. The kind says what to do: for example
/// [`StorageFull`](io::ErrorKind::StorageFull) where [`WalError::is_no_space`] is true,
/// [`WouldBlock`](io::ErrorKind::WouldBlock), [`InvalidData`](io::ErrorKind::InvalidData) for
/// damage. The error itself is inside: `error.downcast::<WalError>()`.
impl From<WalError> for io::Error {
    fn from(error: WalError) -> Self {
        let kind = match &error {
            WalError::Io { source, .. }
            | WalError::BadDirectory { source, .. }
            | WalError::Poisoned { source, .. } => source.kind(),
            WalError::Locked { .. } | WalError::CursorInUse { .. } => io::ErrorKind::ResourceBusy,
            WalError::Corrupt { .. } => io::ErrorKind::InvalidData,
            WalError::NewerFormat { .. } | WalError::UnsafeFileSystem { .. } => {
                io::ErrorKind::Unsupported
            }
            WalError::BadOptions { .. }
            | WalError::RecordTooLarge { .. }
            | WalError::BeyondEnd { .. } => io::ErrorKind::InvalidInput,
            WalError::Closed { .. } => io::ErrorKind::NotConnected,
            WalError::Truncated { .. } => io::ErrorKind::NotFound,
            WalError::NotDurable { .. } | WalError::WouldWait { .. } => io::ErrorKind::WouldBlock,
            WalError::LogFull { .. } => io::ErrorKind::StorageFull,
            WalError::TooMany { .. } => io::ErrorKind::QuotaExceeded,
        };
        Self::new(kind, error)
    }
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => format!("this process (pid {pid})"),
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// What to do about an error of the system that does not say it.
fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::FileTooLarge => {
            "; raise the limit on the size of files (`ulimit -f`) or lower `Options::segment_size`"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; opening a log needs write access to its directory and files, looking into it (`highwater-log`, `inspect`) only \
             read access"
        }
        _ => "",
    }
}

/// What to do with a damaged log that cannot be restored.
fn recovery_tools(finding: Finding) -> &'static str {
    match finding {
        // Nothing is damaged: a newer version reads it.
        Finding::UnknownFeature => "",
        Finding::DamagedControlFile | Finding::MissingControlFile => {
            ". Without a backup, `highwater-log repair DIR --output NEW` makes a log from the segments alone"
        }
        // Or a caller reads from a position of another log.
        Finding::CorruptDurable => {
            ". If the file is damaged and there is no backup, `highwater-log repair` or `salvage` saves what is intact"
        }
        _ => ". Without a backup, `highwater-log repair` or `salvage` saves what is intact",
    }
}

fn reserve(bytes: u64) -> String {
    match bytes {
        0 => "; the reserve for control records is in use".to_owned(),
        kept => format!("; {kept} are kept for control records"),
    }
}

fn clause(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("; {text}")
    }
}

/// Kinds of damage: the labels of the recovery table (see [`crate::recovery`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finding {
    /// A bad frame below a position that a later, valid frame proves to have been durable.
    CorruptProven,
    /// A bad frame below the durable LSN of a running log, found by a reader.
    CorruptDurable,
    /// A segment between the first and the last is not there.
    MissingSegment,
    /// A segment of another log.
    ForeignSegment,
    /// A segment under the name of another one of the same log.
    SwappedSegment,
    /// A segment file is shorter than its header says.
    ShortSegment,
    /// A segment file is longer than its header says.
    LongSegment,
    /// A segment whose header cannot be read.
    DamagedHeader,
    /// The control file `LOG` cannot be read.
    DamagedControlFile,
    /// Segments with records, but no control file `LOG`.
    MissingControlFile,
    /// A frame that is intact but uses a feature this version does not know.
    UnknownFeature,
    /// A place without an intact frame in a segment file that is read without its log: whether it
    /// was ever durable is not known.
    NoFrame,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CorruptProven => "corrupt frame below a position that is proven durable",
            Self::CorruptDurable => "corrupt frame below the durable LSN",
            Self::MissingSegment => "missing segment",
            Self::ForeignSegment => "segment of another log",
            Self::SwappedSegment => "segment under a wrong name",
            Self::ShortSegment => "segment file too short",
            Self::LongSegment => "segment file too long",
            Self::DamagedHeader => "damaged segment header",
            Self::DamagedControlFile => "damaged control file LOG",
            Self::MissingControlFile => "missing control file LOG",
            Self::UnknownFeature => "frame with an unknown feature",
            Self::NoFrame => "place without an intact frame",
        })
    }
}
