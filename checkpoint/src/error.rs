//! What can go wrong, where, and what to do about it.

use crate::format::FORMAT_VERSION;
use std::fmt;
use std::io;

/// The result of anything in this crate.
pub type Result<T, E = CheckpointError> = std::result::Result<T, E>;

/// A checkpoint that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its number.
    pub number: u64,
    /// What is wrong with it: file, place and finding.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checkpoint {}: {}", self.number, self.reason)
    }
}

/// Why a checkpoint could not be written, found or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file of a checkpoint is missing, short, or has other bytes than were written.
    #[error("{file}{}: {what}; restore the file from a copy, or move its manifest away to start from the checkpoint before", at(.offset))]
    Damaged {
        /// Name of the file in the store.
        file: String,
        /// Where in it, in bytes, if known.
        offset: Option<u64>,
        /// What was found.
        what: String,
    },

    /// Another process publishes into the same store. This one must stop, and must not truncate its
    /// log.
    #[error(
        "checkpoint {number} was published by another writer ({writer:016x}): a second engine works on the same store; stop this one, and find out which of the two should run"
    )]
    Fenced {
        /// The number that the other writer has taken.
        number: u64,
        /// The other writer.
        writer: u64,
    },

    /// Written by a newer version of Highwater. Nothing was changed.
    #[error(
        "{file} needs a newer version of Highwater: {what} (this one reads format {FORMAT_VERSION}); nothing was changed, open it with the version that wrote it"
    )]
    NewerFormat {
        /// Name of the file in the store.
        file: String,
        /// What this version does not know.
        what: String,
    },

    /// There are checkpoints, and none of them can be used.
    #[error("{place}: none of the {} checkpoints is usable: {}; restore the files from a copy; if the log still begins at its first record, you can move the manifests away instead, and the state is rebuilt from the log", .skipped.len(), list(.skipped))]
    NoneValid {
        /// The store.
        place: String,
        /// Every checkpoint with what is wrong with it, newest first.
        skipped: Vec<Skipped>,
    },

    /// The checkpoint belongs to another log.
    #[error(
        "checkpoint {number} belongs to log {checkpoint_log:032x}, this log is {log:032x}: one of them was restored from a backup or copied; put back the pair that belongs together"
    )]
    OtherLog {
        /// Number of the checkpoint.
        number: u64,
        /// The log that it was taken of.
        checkpoint_log: u128,
        /// The log that was opened.
        log: u128,
    },

    /// The checkpoint ends before the log begins: the records between are gone.
    #[error("checkpoint {number} continues at LSN {lsn}, but the log begins only at LSN {first_lsn}: the records between are gone{}; put back the newer checkpoint or the older log", because(.skipped))]
    BeforeLog {
        /// Number of the checkpoint.
        number: u64,
        /// Where replay would have to begin.
        lsn: u64,
        /// The first LSN that the log still has.
        first_lsn: u64,
        /// Newer checkpoints that cannot be used, newest first.
        skipped: Vec<Skipped>,
    },

    /// The checkpoint lies past the end of the log: the log has lost its end, or is an older copy.
    #[error(
        "checkpoint {number} continues at LSN {lsn}, but the log ends at LSN {end_lsn}: the log is older than the checkpoint (a restored backup?); put back the newer log, or the checkpoints of this one"
    )]
    AfterLog {
        /// Number of the checkpoint.
        number: u64,
        /// Where replay would have to begin.
        lsn: u64,
        /// Where the log ends.
        end_lsn: u64,
    },

    /// The checkpoint was to name files of an earlier one, which cannot be built upon. Nothing was
    /// written: all states have to be written anew.
    #[error("checkpoint {number} cannot continue checkpoint {parent}: {what}")]
    CannotContinue {
        /// Number of the checkpoint.
        number: u64,
        /// Number of the earlier one.
        parent: u64,
        /// Why not.
        what: String,
    },

    /// The caller asked for something that cannot be written. A mistake in the program, not on the
    /// disk.
    #[error("cannot write checkpoint {number}: {what}")]
    Misuse {
        /// Number of the checkpoint.
        number: u64,
        /// What is wrong.
        what: String,
    },

    /// The store failed. Nothing that was published before is affected; the operation can be
    /// repeated.
    #[error("cannot {op} {name}: {source}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// On what: a file name, or the place of the store.
        name: String,
        /// The failure.
        source: io::Error,
    },
}

impl CheckpointError {
    pub(crate) fn io(
        op: &'static str,
        name: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            op,
            name: name.into(),
            source: source.into(),
        }
    }

    pub(crate) fn damaged(file: &str, offset: Option<u64>, what: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            offset,
            what: what.into(),
        }
    }

    /// The finding alone, if this is damage: what a fallback reports about a skipped checkpoint.
    pub(crate) fn damage(&self) -> Option<String> {
        match self {
            Self::Damaged { file, offset, what } => Some(format!("{file}{}: {what}", at(offset))),
            _ => None,
        }
    }
}

fn at(offset: &Option<u64>) -> String {
    offset.map(|o| format!(" at byte {o}")).unwrap_or_default()
}

fn list(skipped: &[Skipped]) -> String {
    skipped
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn because(skipped: &[Skipped]) -> String {
    if skipped.is_empty() {
        String::new()
    } else {
        format!(" (not usable: {})", list(skipped))
    }
}
