//! The entries of a state, decoded.

use crate::checkpoint::meaning::MessagePack;
use crate::decode::{self, LastVisit};
use crate::fail::OrFail;
use highwater::checkpoint::{Checkpoint, Meaning, StateEntry};
use highwater_log::outcome::{Failure, Result};
use rmpv::Value as Pack;
use std::ops::ControlFlow;

/// An entry. What is not MessagePack is bytes.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key_group: u32,
    pub(crate) key: Pack,
    pub(crate) value: Pack,
    pub(crate) last_visit: LastVisit,
    /// How many of key and value are not MessagePack.
    pub(crate) undecodable: u64,
}

/// Calls `each` with every entry, key group by key group, until it breaks. Every block is checked
/// when it is read. So the sound blocks of a damaged checkpoint can still be read. Memory: one key
/// group.
pub(crate) fn each_entry(
    checkpoint: &Checkpoint,
    state: &StateEntry,
    mut each: impl FnMut(&Entry) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let name = &state.name;
    for stored in checkpoint.groups(name).or_fail()? {
        let key_group = stored.key_group;
        let Some(group) = checkpoint.read_group(name, key_group).or_fail()? else {
            continue;
        };
        let pairs = MessagePack.pairs(checkpoint.manifest(), state, &group);
        let pairs = pairs.map_err(|what| {
            Failure::Finding(format!("state \"{name}\", key group {key_group}: {what}"))
        })?;
        for (key, value) in pairs {
            if each(&Entry::decode(key_group, &key, &value))?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Entry {
    fn decode(key_group: u32, key: &[u8], value: &[u8]) -> Self {
        let mut undecodable = 0;
        let mut as_bytes = |bytes: &[u8]| {
            undecodable += 1;
            Pack::Binary(bytes.to_vec())
        };
        let key = decode::to_value(key).unwrap_or_else(|| as_bytes(key));
        let decoded = decode::to_state(value);
        let (value, last_visit) = decoded.unwrap_or_else(|| (as_bytes(value), LastVisit::None));
        Self {
            key_group,
            key,
            value,
            last_visit,
            undecodable,
        }
    }
}
