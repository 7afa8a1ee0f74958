//! The engine's own records in the log, and what a source's frames look like.
//!
//! Engine records are control records of stream 0, encoded as MessagePack maps with named fields. A
//! source's data are batch frames of the source's stream: the first record of the frame is the
//! *envelope* (marks of producers), the others are the received records, all or none of them in the
//! log after a crash.

use crate::batch::Batch;
use crate::state::codec;
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

/// What belongs to a directory rather than to a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Name of the application.
    pub(crate) application: String,
    /// Number of key groups, fixed at creation.
    pub(crate) key_groups: u32,
    /// Stream id of every source that wrote here and was not dropped. Ids are never reused: the
    /// record that assigns one is durable before anything else is written.
    pub(crate) sources: BTreeMap<String, u16>,
    /// Stream ids of sources that were dropped: what the log still holds of them is not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retired: Vec<u16>,
    /// What each source is. Logs of the first builds do not say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) kinds: BTreeMap<String, SourceKind>,
    /// How many conversions the records of each input that come after this entry need no more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) migrations: BTreeMap<String, usize>,
    /// How often the program says that a source is dropped, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) drops: BTreeMap<String, usize>,
}

/// What a source is, as the program that wrote last declared it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceKind {
    /// Its operator: `input`, `socket_listen`, ...
    pub(crate) kind: String,
    /// Rust name of its record type, for messages.
    pub(crate) record: String,
}

impl Program {
    /// The stream of `source`, assigned now if it is new; `None` if all 65,535 ids are used up.
    pub(crate) fn stream(&mut self, source: &str) -> Option<StreamId> {
        if let Some(stream) = self.sources.get(source) {
            return Some(StreamId(*stream));
        }
        let used = self.sources.values().chain(&self.retired).max();
        let next = used.copied().unwrap_or(0).checked_add(1)?;
        self.sources.insert(source.to_owned(), next);
        Some(StreamId(next))
    }

    /// The name of a stream's source.
    pub(crate) fn name_of(&self, stream: u16) -> Option<&str> {
        let mut sources = self.sources.iter();
        sources.find_map(|(name, id)| (*id == stream).then_some(name.as_str()))
    }

    /// Forgets `source`; its stream id is not assigned again.
    pub(crate) fn retire(&mut self, source: &str) -> Option<StreamId> {
        let stream = self.sources.remove(source)?;
        self.kinds.remove(source);
        self.migrations.remove(source);
        self.retired.push(stream);
        Some(StreamId(stream))
    }

    /// Gives the source `old` another name.
    pub(crate) fn rename(&mut self, old: &str, new: &str) {
        fn moved<T>(map: &mut BTreeMap<String, T>, old: &str, new: &str) {
            if let Some(value) = map.remove(old) {
                map.insert(new.to_owned(), value);
            }
        }
        moved(&mut self.sources, old, new);
        moved(&mut self.kinds, old, new);
        moved(&mut self.migrations, old, new);
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
