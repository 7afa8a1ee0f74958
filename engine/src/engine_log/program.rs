//! What belongs to a directory rather than to a run.

use highwater_wal::StreamId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

/// What belongs to a directory rather than to a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Name of the application.
    pub(crate) application: String,
    /// Number of key groups, fixed at creation.
    pub(crate) key_groups: u32,
    /// The seed of the hash of keys, drawn at creation. `None` if version 1 wrote this: its hash
    /// had no seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hash_seed: Option<HashSeed>,
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

/// The seed of the hash of keys, stored as 16 hexadecimal digits: JSON numbers of that size lose
/// digits in many tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct HashSeed(pub(crate) u64);

impl HashSeed {
    /// A seed for a new application: random, unless one is given.
    pub(crate) fn fresh(given: Option<u64>) -> Self {
        // The standard library's hash keys come from the operating system's random source.
        Self(given.unwrap_or_else(|| RandomState::new().hash_one("the hash of keys")))
    }
}

impl From<HashSeed> for String {
    fn from(seed: HashSeed) -> Self {
        format!("{:016x}", seed.0)
    }
}

impl TryFrom<String> for HashSeed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let seed = digits
            .then(|| u64::from_str_radix(&text, 16).ok())
            .flatten();
        let what = || format!("hash_seed must be 16 hexadecimal digits, not {text:?}");
        seed.map(Self).ok_or_else(what)
    }
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

    /// Streams that others write into the log get no source: their frames would be read as its
    /// records.
    pub(crate) fn set_foreign<'a>(&mut self, streams: impl IntoIterator<Item = &'a StreamId>) {
        for StreamId(stream) in streams {
            if !self.retired.contains(stream) {
                self.retired.push(*stream);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message_pack;

    #[test]
    fn the_seed_is_kept_as_digits_and_one_of_version_1_has_none() {
        let mut program = Program::default();
        let old = message_pack::encode(&program).unwrap();
        assert_eq!(message_pack::decode::<Program>(&old).unwrap(), program);
        for seed in [0, 1, 0x0123_4567_89AB_CDEF, u64::MAX] {
            program.hash_seed = Some(HashSeed(seed));
            let bytes = message_pack::encode(&program).unwrap();
            assert_eq!(message_pack::decode::<Program>(&bytes).unwrap(), program);
            let json = serde_json::to_value(&program).unwrap();
            assert_eq!(json["hash_seed"], format!("{seed:016x}"));
            assert_eq!(serde_json::from_value::<Program>(json).unwrap(), program);
        }
        for bad in ["", "1", "+123456789abcdef", "0123456789abcdefg"] {
            let error = HashSeed::try_from(bad.to_owned()).unwrap_err();
            assert!(error.contains("16 hexadecimal digits"), "{error}");
        }
    }

    #[test]
    fn seeds_are_drawn_anew_unless_one_is_given() {
        assert_ne!(HashSeed::fresh(None), HashSeed::fresh(None));
        assert_eq!(HashSeed::fresh(Some(7)), HashSeed(7));
    }
}
