//! A key group as bytes: the blocks of a checkpoint.
//!
//! A block is a sequence of entries, each `u32` length and bytes of the key, `u32` length and bytes
//! of the state; one of changes has removed keys before them. The time of a key's last visit, where
//! timeouts need it, follows the state inside its bytes, as a MessagePack extension that no state
//! begins with.

use crate::codec::{message_pack, round_trip};
use crate::record::{Key, Value};
use crate::state::table::slots::Stamp;
use highwater_checkpoint::entries::{append, entries};
use highwater_checkpoint::{BlockKind, GroupBlock};
use std::any::Any;
use std::collections::BTreeMap;

/// One decoded key group, with the type erased.
pub(crate) type RestoredGroup = Box<dyn Any + Send>;

/// Decoded key groups that wait for the worker that owns them.
pub(crate) type RestoredState = BTreeMap<u32, RestoredGroup>;

/// How the time of a last visit begins: an extension of eight bytes of type 1.
const LAST_VISIT: [u8; 2] = [0xD7, 0x01];

/// What a checkpoint says of one key group, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EncodedGroup {
    pub(crate) group: u32,
    /// Whether it is all of the group, or what has changed.
    pub(crate) whole: bool,
    /// How many keys are gone.
    pub(crate) removed: u64,
    /// These keys.
    pub(crate) gone: Vec<u8>,
    /// How many entries there are.
    pub(crate) entries: u64,
    pub(crate) bytes: Vec<u8>,
}

impl From<EncodedGroup> for GroupBlock {
    fn from(group: EncodedGroup) -> Self {
        let mut bytes = group.gone;
        bytes.extend_from_slice(&group.bytes);
        Self {
            kind: match group.whole {
                true => BlockKind::Base,
                false => BlockKind::Delta,
            },
            removed: group.removed,
            entries: group.entries,
            bytes,
        }
    }
}

/// Encodes what a checkpoint says of a key group: `gone`, and `entries`.
pub(crate) fn encode<'a, K: Key, S: Value, T: Stamp>(
    group: u32,
    whole: bool,
    gone: &[K],
    entries: impl Iterator<Item = (&'a K, &'a S, T)>,
) -> Result<EncodedGroup, String> {
    let mut encoded = EncodedGroup {
        group,
        whole,
        removed: gone.len() as u64,
        ..EncodedGroup::default()
    };
    for key in gone {
        append(&mut encoded.gone, |out| message_pack::encode_into(key, out))?;
    }
    for (key, state, stamp) in entries {
        append(&mut encoded.bytes, |out| {
            message_pack::encode_into(key, out)
        })?;
        let state = |out: &mut Vec<u8>| {
            message_pack::encode_into(state, out)?;
            if let Some(time_ms) = stamp.time_ms() {
                out.extend_from_slice(&LAST_VISIT);
                out.extend_from_slice(&time_ms.to_be_bytes());
            }
            Ok::<(), rmp_serde::encode::Error>(())
        };
        append(&mut encoded.bytes, state)
            .map_err(|e| format!("the state of the key {}: {e}", round_trip::show_value(key)))?;
        encoded.entries += 1;
    }
    Ok(encoded)
}

/// An entry of a block, still encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) state: &'a [u8],
    /// The time of the last visit, if the block has it.
    pub(crate) last_visit_ms: Option<u64>,
}

/// How many entries a block has, up to where it is damaged.
pub(crate) fn count(bytes: &[u8]) -> u32 {
    let whole = entries(bytes).take_while(Result::is_ok).count();
    u32::try_from(whole).unwrap_or(u32::MAX)
}

/// The entries of a block.
pub(crate) fn raw_entries(bytes: &[u8]) -> impl Iterator<Item = Result<RawEntry<'_>, String>> {
    entries(bytes).map(|entry| {
        let (key, value) = entry.map_err(|e| e.to_string())?;
        let (state, last_visit_ms) = split(value);
        Ok(RawEntry {
            key,
            state,
            last_visit_ms,
        })
    })
}

/// The state in the bytes of a value, and the time of the last visit. The bytes of a state may
/// happen to end like such a time (a string can): whether they do is seen where the state ends.
fn split(value: &[u8]) -> (&[u8], Option<u64>) {
    let whole = (value, None);
    let Some((state, last)) = value.split_last_chunk::<10>() else {
        return whole;
    };
    let [first, second, time @ ..] = *last;
    if [first, second] != LAST_VISIT || !is_one_value(state) {
        return whole;
    }
    (state, Some(u64::from_be_bytes(time)))
}

/// Whether `bytes` are exactly one MessagePack value.
fn is_one_value(mut bytes: &[u8]) -> bool {
    rmpv::decode::read_value_ref(&mut bytes).is_ok() && bytes.is_empty()
}

/// Converts the states of a block from `Old` to `New`.
pub(crate) fn migrate<Old: Value, New: Value>(
    bytes: &[u8],
    convert: &dyn Fn(Old) -> New,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(bytes.len());
    for entry in raw_entries(bytes) {
        let RawEntry {
            key,
            state,
            last_visit_ms,
        } = entry?;
        let old = message_pack::decode(state)
            .map_err(|e| format!("a value as {}: {e}", std::any::type_name::<Old>()))?;
        append(&mut out, |out| {
            out.extend_from_slice(key);
            Ok::<(), String>(())
        })?;
        append(&mut out, |out| {
            message_pack::encode_into(&convert(old), out)?;
            if let Some(time_ms) = last_visit_ms {
                out.extend_from_slice(&LAST_VISIT);
                out.extend_from_slice(&time_ms.to_be_bytes());
            }
            Ok::<(), rmp_serde::encode::Error>(())
        })?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::table::slots::LastVisit;

    #[test]
    fn the_time_of_the_last_visit_is_told_from_the_state() {
        let time = LastVisit::at(1_700_000_000_123);
        for state in ["", "a", "0123456789abcdef"] {
            let state = state.to_owned();
            let with = encode(0, true, &[], [(&7_u8, &state, time)].into_iter()).unwrap();
            let entry = raw_entries(&with.bytes).next().unwrap().unwrap();
            assert_eq!(entry.last_visit_ms, Some(1_700_000_000_123));
            assert_eq!(message_pack::decode::<String>(entry.state).unwrap(), state);
            let without = encode(0, true, &[], [(&7_u8, &state, ())].into_iter()).unwrap();
            let entry = raw_entries(&without.bytes).next().unwrap().unwrap();
            assert_eq!(entry.last_visit_ms, None);
            assert_eq!(message_pack::decode::<String>(entry.state).unwrap(), state);
        }
    }

    /// Bytes inside a state that look like a time are the state's.
    #[test]
    fn a_state_that_ends_like_a_time_is_not_cut() {
        let mut state = vec![7_u8; 30];
        state.extend_from_slice(&LAST_VISIT);
        state.extend_from_slice(&[0; 8]);
        let mut value = vec![0xC4, 40]; // 40 raw bytes
        value.extend_from_slice(&state);
        assert_eq!(split(&value), (&value[..], None));
        let mut stamped = value.clone();
        stamped.extend_from_slice(&LAST_VISIT);
        stamped.extend_from_slice(&5_u64.to_be_bytes());
        assert_eq!(split(&stamped), (&value[..], Some(5)));
    }

    #[test]
    fn a_migration_keeps_keys_and_times() {
        let old = encode(
            3,
            true,
            &[],
            [(&"k".to_owned(), &7_u64, LastVisit::at(9))].into_iter(),
        )
        .unwrap();
        let new = migrate::<u64, String>(&old.bytes, &|n| format!("n{n}")).unwrap();
        let entry = raw_entries(&new).next().unwrap().unwrap();
        assert_eq!(message_pack::decode::<String>(entry.key).unwrap(), "k");
        assert_eq!(message_pack::decode::<String>(entry.state).unwrap(), "n7");
        assert_eq!(entry.last_visit_ms, Some(9));
    }
}
