//! What belongs to a directory rather than to a run.

use highwater_wal::StreamId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// What each source is. Logs of the first builds do not have this.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) kinds: BTreeMap<String, SourceKind>,
    /// How many conversions the records of each input that come after this entry need no more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) migrations: BTreeMap<String, usize>,
    /// How many calls of the program drop a source, by name.
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
