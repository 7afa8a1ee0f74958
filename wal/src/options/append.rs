//! How one record is appended.

use crate::lsn::StreamId;
use crate::options::choices::Durability;

/// What an append may use at the bound of the log
/// ([`Options::max_bytes`](crate::Options::max_bytes)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
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
    ///
    /// ```
    /// use highwater_wal::AppendOptions;
    /// assert_eq!(AppendOptions::new(), AppendOptions::default());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The stream of the record.
    ///
    /// ```
    /// use highwater_wal::{AppendOptions, StreamId};
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append_with(&AppendOptions::new().stream(StreamId(7)), "a record")?;
    /// assert_eq!(log.read_from(lsn)?.next().expect("it is durable")?.stream, StreamId(7));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stream(mut self, stream: StreamId) -> Self {
        self.stream = stream;
        self
    }

    /// What the call waits for, instead of what the log's options say.
    ///
    /// ```
    /// use highwater_wal::{AppendOptions, Durability};
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append_with(&AppendOptions::new().durability(Durability::Os), "a page view")?;
    /// assert!(log.durable_lsn() <= lsn, "it has not waited");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.level = Level::Own(durability);
        self
    }

    /// Whether the record may use the reserve of a log at its bound (default
    /// [`Admission::Ordinary`]).
    ///
    /// ```
    /// use highwater_wal::{Admission, AppendOptions, Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).max_bytes(256 << 10);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// while log.append([0; 9000]).is_ok() {} // up to the bound
    /// let processed = AppendOptions::new().admission(Admission::Reserve);
    /// let lsn = log.append_with(&processed, "everything before is processed")?;
    /// log.truncate_before(lsn)?; // there is room again
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }
}
