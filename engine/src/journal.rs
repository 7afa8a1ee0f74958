//! The engine's own records in the log, and what a source's frames look like.
//!
//! Engine records are control records of stream 0, encoded as MessagePack maps with named fields. A source's data are
//! batch frames of the source's stream: the first record of the frame is the *envelope* (marks of producers), the
//! others are the received records, all or none of them in the log after a crash.

use crate::batch::Batch;
use crate::codec;
use highwater_wal::{Lsn, StreamId, Wal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The stream of the engine's own records.
pub(crate) const ENGINE: StreamId = StreamId(0);

/// An engine record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// Who writes here. The first entry of a log, and again whenever it changes.
    Program(Program),
    /// The end of a batch's input. Its own LSN is the `to` of the batch.
    Cut { batch: u64, time_ms: u64, from: Lsn },
    /// Every output of the batch has staged it.
    Committed { batch: u64 },
}

/// What belongs to a directory rather than to a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Name of the application.
    pub(crate) application: String,
    /// Number of key groups, fixed at creation.
    pub(crate) key_groups: u32,
    /// Stream id of every source that ever wrote here. Ids are never reused.
    pub(crate) sources: BTreeMap<String, u16>,
}

impl Program {
    /// The stream of `source`, assigned now if it is new.
    pub(crate) fn stream(&mut self, source: &str) -> StreamId {
        let next = self.sources.values().max().map_or(1, |last| last + 1);
        StreamId(*self.sources.entry(source.to_owned()).or_insert(next))
    }
}

/// Appends an engine record; not durable yet.
pub(crate) fn append(wal: &Wal, entry: &Entry) -> Result<Lsn, highwater_wal::WalError> {
    let bytes = codec::encode(entry).expect("engine records serialise");
    wal.append_control(ENGINE, bytes)
}

/// Decodes an engine record.
pub(crate) fn decode(payload: &[u8]) -> Result<Entry, String> {
    codec::decode(payload)
}

impl Entry {
    /// The batch that a cut at `lsn` ends.
    pub(crate) fn as_cut(&self, lsn: Lsn) -> Option<Batch> {
        match *self {
            Entry::Cut {
                batch,
                time_ms,
                from,
            } => Some(Batch {
                id: batch,
                time_ms,
                from,
                to: lsn,
            }),
            _ => None,
        }
    }
}

/// "Everything of `producer` up to `sequence` is in the log."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) producer: String,
    pub(crate) sequence: u64,
}

/// Encodes the first record of a source's frame.
pub(crate) fn encode_envelope(mark: Option<&Mark>) -> Vec<u8> {
    mark.map_or_else(Vec::new, |mark| {
        codec::encode(mark).expect("marks serialise")
    })
}

/// Decodes the first record of a source's frame.
pub(crate) fn decode_envelope(bytes: &[u8]) -> Result<Option<Mark>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    codec::decode(bytes).map(Some)
}
