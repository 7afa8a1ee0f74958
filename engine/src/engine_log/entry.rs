//! The engine's own records in the log: control records of stream 0, encoded as MessagePack maps
//! with named fields.

use crate::batch::Batch;
use crate::codec::message_pack;
use crate::engine_log::program::Program;
use highwater_wal::{Lsn, StreamId, Wal};
use serde::{Deserialize, Serialize};

/// The stream of the engine's own records.
pub(crate) const ENGINE: StreamId = StreamId(0);

/// An engine record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// Who writes here. The first entry of a log, and again whenever it changes.
    Program(Program),
    /// The end of a batch's input.
    Cut {
        batch: u64,
        time_ms: u64,
        from: Lsn,
        /// Where the input ends, if that is before the cut itself: when more has gathered than one
        /// batch may have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Lsn>,
    },
    /// Every output of the batch has staged it.
    Committed { batch: u64 },
}

/// Appends an engine record; not durable yet.
pub(crate) fn append(wal: &Wal, entry: &Entry) -> Result<Lsn, highwater_wal::WalError> {
    let bytes = message_pack::encode(entry).expect("engine records serialise");
    wal.append_control(ENGINE, bytes)
}

/// Decodes an engine record.
pub(crate) fn decode(payload: &[u8]) -> Result<Entry, String> {
    message_pack::decode(payload)
}

impl Entry {
    /// The batch that a cut at `lsn` ends.
    pub(crate) fn as_cut(&self, lsn: Lsn) -> Option<Batch> {
        match *self {
            Entry::Cut {
                batch,
                time_ms,
                from,
                to,
            } => Some(Batch {
                id: batch,
                time_ms,
                from,
                to: to.unwrap_or(lsn),
            }),
            _ => None,
        }
    }
}
