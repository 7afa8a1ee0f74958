//! What the engine means with the bytes of a checkpoint.

use crate::decode;
use highwater::checkpoint::entries::entries;
use highwater::checkpoint::{GroupEntries, Manifest, Meaning, Pair, StateEntry};
use rmpv::Value as Pack;
use std::borrow::Cow;

/// Kind of the states that hold a source's producer table.
pub(super) const PRODUCERS: &str = "producers";

/// Keys and values are MessagePack; the time of a last visit may follow a value.
#[derive(Debug)]
pub(super) struct MessagePack;

impl Meaning for MessagePack {
    fn pairs<'a>(
        &self,
        manifest: &Manifest,
        state: &StateEntry,
        group: &'a GroupEntries,
    ) -> Result<Vec<Pair<'a>>, String> {
        if is_table(manifest, state) {
            return producers(&group.bytes).ok_or_else(|| "it is no table of producers".to_owned());
        }
        let pairs = entries(&group.bytes).map(|entry| {
            let (key, value) = entry.map_err(|e| e.to_string())?;
            Ok((Cow::Borrowed(key), Cow::Borrowed(value)))
        });
        pairs.collect()
    }

    fn is_counted(&self, manifest: &Manifest, state: &StateEntry) -> bool {
        !is_table(manifest, state)
    }

    fn canonical(&self, _: &StateEntry, bytes: &[u8]) -> Option<Vec<u8>> {
        decode::canonical(bytes)
    }

    fn check(&self, _: &StateEntry, bytes: &[u8]) -> Result<(), String> {
        match decode::to_state(bytes) {
            Some(_) => Ok(()),
            None => Err("it is no MessagePack value".to_owned()),
        }
    }
}

/// Checkpoints of the first version have one value for all producers of a source.
fn is_table(manifest: &Manifest, state: &StateEntry) -> bool {
    manifest.format_version == 1 && state.kind == PRODUCERS
}

/// The producers of such a table, which has no epochs.
fn producers(bytes: &[u8]) -> Option<Vec<Pair<'static>>> {
    let Pack::Map(tables) = decode::to_value(bytes)? else {
        return None;
    };
    let mut pairs = Vec::new();
    for wanted in ["known", "producers"] {
        let table = tables
            .iter()
            .find(|(name, _)| name.as_str() == Some(wanted));
        let table = table.and_then(|(_, table)| table.as_map());
        for (producer, last) in table.into_iter().flatten() {
            let pair = (decode::encode(producer)?, decode::encode(last)?);
            pairs.push((Cow::Owned(pair.0), Cow::Owned(pair.1)));
        }
    }
    Some(pairs)
}
