//! Where the records of a source are in the log, and how old ones become those of today.

use crate::plan::changes::Migration;
use bytes::Bytes;
use highwater_wal::{Lsn, StreamId};
use std::fmt;

/// Where the records of a source are in the log, and how old ones become those of today.
#[derive(Clone)]
pub(crate) struct SourceStream {
    pub(crate) id: StreamId,
    /// In the order in which they are applied.
    pub(crate) upgrades: Vec<Upgrade>,
}

/// A conversion of encoded records that were written before it was.
#[derive(Clone)]
pub(crate) struct Upgrade {
    /// Records of frames below this position need it.
    pub(crate) below: Lsn,
    pub(crate) convert: Migration,
}

/// The streams by source, filled in once the log has been read.
pub(crate) type StreamTable = std::sync::OnceLock<Vec<SourceStream>>;

impl fmt::Debug for SourceStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceStream")
            .field("id", &self.id)
            .field("upgrades", &self.upgrades.len())
            .finish()
    }
}

impl SourceStream {
    /// Whether records of the frame at `lsn` are as the program writes them today.
    pub(crate) fn is_current(&self, lsn: Lsn) -> bool {
        self.upgrades.iter().all(|upgrade| lsn >= upgrade.below)
    }

    /// A record of the frame at `lsn` as the program would write it today.
    pub(crate) fn upgrade(&self, lsn: Lsn, record: Bytes) -> Result<Bytes, String> {
        let mut pending = self.upgrades.iter().filter(|upgrade| lsn < upgrade.below);
        pending.try_fold(record, |record, upgrade| {
            (upgrade.convert)(&record).map(Bytes::from)
        })
    }
}
