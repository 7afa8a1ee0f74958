//! A key group as bytes: the blocks of a checkpoint.
//!
//! A block is a sequence of entries, each `u32` length and bytes of the key, `u32` length and bytes
//! of the state. The time of a key's last visit, where timeouts need it, follows the state inside
//! its bytes, as a MessagePack extension that no state begins with.

use crate::codec::{message_pack, round_trip};
use crate::record::{Key, State};
use crate::state::table::slots::Stamp;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::BTreeMap;

/// The encoded entries of one key group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    pub(crate) group: u32,
    pub(crate) entries: u64,
    pub(crate) bytes: Vec<u8>,
}

/// One decoded key group, with the type erased.
pub(crate) type RestoredGroup = Box<dyn Any + Send>;

/// Decoded key groups that wait for the worker that owns them.
pub(crate) type RestoredState = BTreeMap<u32, RestoredGroup>;

/// How the time of a last visit begins: an extension of eight bytes of type 1.
const LAST_VISIT: [u8; 2] = [0xD7, 0x01];

/// Encodes `entries`.
pub(crate) fn encode<'a, K: Key, S: State, T: Stamp>(
    group: u32,
    entries: impl Iterator<Item = (&'a K, &'a S, T)>,
) -> Result<Block, String> {
    let mut block = Block {
        group,
        entries: 0,
        bytes: Vec::new(),
    };
    for (key, state, stamp) in entries {
        put(&mut block.bytes, |out| message_pack::encode_into(key, out))?;
        let state = |out: &mut Vec<u8>| {
            message_pack::encode_into(state, out)?;
            if let Some(time_ms) = stamp.time_ms() {
                out.extend_from_slice(&LAST_VISIT);
                out.extend_from_slice(&time_ms.to_be_bytes());
            }
            Ok(())
        };
        put(&mut block.bytes, state)
            .map_err(|e| format!("the state of the key {}: {e}", round_trip::show_value(key)))?;
        block.entries += 1;
    }
    Ok(block)
}

fn put(
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), rmp_serde::encode::Error>,
) -> Result<(), String> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    encode(out).map_err(|e| format!("it does not serialise: {e}"))?;
    let len = u32::try_from(out.len() - at - 4)
        .map_err(|_| "an entry is larger than 4 GiB".to_owned())?;
    out.get_mut(at..at + 4)
        .expect("the place was just reserved")
        .copy_from_slice(&len.to_le_bytes());
    Ok(())
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
    let (mut rest, mut count) = (bytes, 0);
    while take(&mut rest).is_some() && take(&mut rest).is_some() {
        count += 1;
    }
    count
}

/// The entries of a block.
pub(crate) fn raw_entries(bytes: &[u8]) -> impl Iterator<Item = Result<RawEntry<'_>, String>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = take(&mut rest).and_then(|key| take(&mut rest).map(|value| (key, value)));
        let Some((key, value)) = entry else {
            rest = &[];
            return Some(Err("the block ends inside an entry".to_owned()));
        };
        let (state, last_visit_ms) = split(value);
        Some(Ok(RawEntry {
            key,
            state,
            last_visit_ms,
        }))
    })
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, tail) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (item, tail) = tail.split_at_checked(len)?;
    *rest = tail;
    Some(item)
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
pub(crate) fn migrate<Old: State, New: State>(
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
        put(&mut out, |out| {
            out.extend_from_slice(key);
            Ok(())
        })?;
        put(&mut out, |out| {
            message_pack::encode_into(&convert(old), out)?;
            if let Some(time_ms) = last_visit_ms {
                out.extend_from_slice(&LAST_VISIT);
                out.extend_from_slice(&time_ms.to_be_bytes());
            }
            Ok(())
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
            let with = encode(0, [(&7_u8, &state, time)].into_iter()).unwrap();
            let entry = raw_entries(&with.bytes).next().unwrap().unwrap();
            assert_eq!(entry.last_visit_ms, Some(1_700_000_000_123));
            assert_eq!(message_pack::decode::<String>(entry.state).unwrap(), state);
            let without = encode(0, [(&7_u8, &state, ())].into_iter()).unwrap();
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
        let old = encode(3, [(&"k".to_owned(), &7_u64, LastVisit::at(9))].into_iter()).unwrap();
        let new = migrate::<u64, String>(&old.bytes, &|n| format!("n{n}")).unwrap();
        let entry = raw_entries(&new).next().unwrap().unwrap();
        assert_eq!(message_pack::decode::<String>(entry.key).unwrap(), "k");
        assert_eq!(message_pack::decode::<String>(entry.state).unwrap(), "n7");
        assert_eq!(entry.last_visit_ms, Some(9));
    }
}
