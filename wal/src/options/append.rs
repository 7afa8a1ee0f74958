//! How one record is appended.

use crate::lsn::StreamId;
use crate::options::choices::Durability;

/// What an append may use at the bound of the log
/// ([`Options::max_bytes`](crate::Options::max_bytes)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// Refused with [`WalError::LogFull`](crate::WalError::LogFull) where only the reserve is left.
    #[default]
    Ordinary,
    /// May use the reserve: for records without which the log is not truncated, such as a
    /// consumer's acknowledgement. Control records are always appended so.
    Reserve,
}

/// How one record is appended: which stream it belongs to, what the call waits for, and whether it
/// may use the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppendOptions {
    pub(crate) stream: StreamId,
    pub(crate) level: Level,
    pub(crate) admission: Admission,
}

/// Whose durability counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Level {
    #[default]
    OfLog,
    Own(Durability),
}

impl AppendOptions {
    /// The default stream, at the log's own durability, without the reserve.
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

    /// Whether the record may use the reserve of a log at its bound (default
    /// [`Admission::Ordinary`]).
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }
}
