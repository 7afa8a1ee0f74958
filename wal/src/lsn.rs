//! Positions in the log, and the streams that share it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A position in the log: a byte address. Once the record there is durable, or recovery has shown
/// it, the position is never given to another record.
///
/// Before that it may be. A record that is appended and not durable may be lost with the process or
/// the machine. The reopened log then goes on at the same addresses. So make a record durable
/// ([`Wal::sync_to`](crate::Wal::sync_to), [`Wal::durable`](crate::Wal::durable)) before its LSN is
/// stored or sent anywhere else.
///
/// The LSN of a frame is the base of its segment plus its offset in the file. It is a multiple of
/// 8. LSNs grow in the order of the log. Records of one batch share the
/// LSN of their frame and are told apart by [`Record::index`](crate::Record::index).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[must_use = "an LSN is not durable yet: pass it to `sync_to`, or await `durable`"]
pub struct Lsn(u64);

impl Lsn {
    /// Before everything. [`Wal::read_from`](crate::Wal::read_from) takes it to mean "from the
    /// oldest record kept".
    pub const ZERO: Self = Self(0);

    /// The position with this byte address.
    ///
    /// ```
    /// use highwater_wal::Lsn;
    /// assert_eq!(Lsn::new(4096).to_string(), "4096");
    /// ```
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The byte address.
    ///
    /// ```
    /// use highwater_wal::Lsn;
    /// let stored = Lsn::new(4096).get().to_le_bytes(); // of a record that is durable
    /// assert_eq!(Lsn::new(u64::from_le_bytes(stored)), Lsn::new(4096));
    /// ```
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Bytes from `earlier` to `self`; 0 if `earlier` is not earlier.
    ///
    /// ```
    /// use highwater_wal::Lsn;
    /// assert_eq!(Lsn::new(5000).bytes_since(Lsn::new(4096)), 904);
    /// assert_eq!(Lsn::new(4096).bytes_since(Lsn::new(5000)), 0);
    /// ```
    #[must_use]
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Lsn> for u64 {
    fn from(lsn: Lsn) -> Self {
        lsn.0
    }
}

/// Where a frame lies: what [`Wal::append_batch`](crate::Wal::append_batch) returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use = "a batch is not durable yet: pass its `first` to `sync_to`, or await `durable`"]
pub struct LsnRange {
    /// LSN of the frame.
    pub first: Lsn,
    /// First LSN after the frame.
    pub end: Lsn,
}

/// Which of the streams that share the log a record belongs to. The log gives it no meaning.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StreamId(pub u16);

impl StreamId {
    /// The stream of records appended without naming one.
    pub const DEFAULT: Self = Self(0);
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
