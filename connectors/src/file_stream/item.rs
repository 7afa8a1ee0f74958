//! The name of a file's version among the items of a source.

use highwater_engine::wal::disk::{Entry, EntryKind};

/// A version of a file: another length or time of last change make it another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) modified_ms: u64,
    pub(super) name: String,
    pub(super) len: u64,
}

impl Item {
    /// Of a directory's entry, if its name is text.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        Some(Self {
            modified_ms: entry.modified_ms,
            name: entry.name.to_str()?.to_owned(),
            len: entry.len,
        })
    }

    /// As the source's items have it.
    pub(super) fn encode(&self) -> String {
        format!("{}:{}:{}", self.len, self.modified_ms, self.name)
    }

    pub(super) fn decode(item: &str) -> Option<Self> {
        let (len, rest) = item.split_once(':')?;
        let (modified_ms, name) = rest.split_once(':')?;
        Some(Self {
            modified_ms: modified_ms.parse().ok()?,
            name: name.to_owned(),
            len: len.parse().ok()?,
        })
    }
}

/// Whether an entry is a file that is complete, by its name.
pub(crate) fn is_wanted(entry: &Entry) -> bool {
    let name = entry.name.as_encoded_bytes();
    let unfinished =
        name.starts_with(b".") || name.ends_with(b".tmp") || name.ends_with(b"._COPYING_");
    entry.kind == EntryKind::File && !unfinished
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let item = Item {
            modified_ms: 7,
            name: "a:b: c".to_owned(),
            len: 5,
        };
        assert_eq!(Item::decode(&item.encode()), Some(item));
        assert_eq!(Item::decode("a:b"), None);
    }
}
