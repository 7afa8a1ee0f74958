//! Blocks of version 1: a header each, then the payload, then zeros up to a multiple of 8.
//!
//! The checksum covers header and payload, and the log, checkpoint, attempt, part and offset of the
//! block. So a whole block in the wrong place never passes. This version does not write them.

use crate::error::{CheckpointError, Result};
use crate::format::BLOCK_HEADER_LEN;
use crate::manifest::document::BlockEntry;
use crate::state_file::header::crc_of_place;
use crate::state_file::index::{IndexEntry, lost};
use crate::store::Store;
use crate::store::names::StateName;

/// State index, key group, length, entries, kind.
const BLOCK_FIELDS: usize = 4 + 4 + 8 + 8 + 4;
const BLOCK_HEADER: usize = BLOCK_FIELDS + CRC;
const CRC: usize = 4;

const KIND_BASE: u32 = 1;

const _: () = assert!(BLOCK_HEADER as u64 == BLOCK_HEADER_LEN);

/// What the header of a block says.
#[derive(Debug, Clone, Copy)]
struct Block {
    state_index: u32,
    key_group: u32,
    entries: u64,
}

/// Reads a block, whose state is number `state` of the manifest.
pub(crate) fn read_block(
    store: &dyn Store,
    log_id: u128,
    name: StateName,
    state: u32,
    block: &IndexEntry,
) -> Result<Vec<u8>> {
    let info = block.info;
    let entry = BlockEntry {
        key_group: info.key_group,
        kind: info.kind,
        file: name.part,
        offset: block.offset,
        len: info.len,
        entries: info.entries,
        crc32c: block.crc32c,
    };
    let file = name.to_string();
    let len = BLOCK_HEADER_LEN.saturating_add(entry.len);
    let bytes = store.get_range(&file, entry.offset, len);
    let bytes = bytes.map_err(|e| lost(&file, entry.offset, e))?;
    open_block(log_id, name, state, &entry, bytes)
}

/// Checks the bytes of one block, header and payload, against the manifest and returns the payload.
fn open_block(
    log_id: u128,
    name: StateName,
    state_index: u32,
    entry: &BlockEntry,
    mut bytes: Vec<u8>,
) -> Result<Vec<u8>> {
    let bad = |what: &str| {
        let group = entry.key_group;
        let what = format!("block of state {state_index}, key group {group}: {what}");
        CheckpointError::damaged(&name.to_string(), Some(entry.offset), what)
    };

    let (head, payload) = bytes
        .split_at_checked(BLOCK_HEADER)
        .ok_or_else(|| bad("too short"))?;
    let block = Block {
        state_index,
        key_group: entry.key_group,
        entries: entry.entries,
    };
    let fields = block_fields(&block, entry.len);
    let crc = block_crc(log_id, name, entry.offset, &fields, payload);
    if head.get(..fields.len()) != Some(&fields[..]) {
        return Err(bad("its header is not that of the manifest"));
    }
    if head.get(fields.len()..) != Some(&crc.to_le_bytes()[..]) || crc != entry.crc32c {
        return Err(bad("its checksum does not match"));
    }
    bytes.drain(..BLOCK_HEADER);
    Ok(bytes)
}

/// A block header without its checksum.
fn block_fields(block: &Block, len: u64) -> [u8; BLOCK_FIELDS] {
    let mut fields = [0; BLOCK_FIELDS];
    let (state, rest) = fields.split_at_mut(4);
    let (group, rest) = rest.split_at_mut(4);
    let (length, rest) = rest.split_at_mut(8);
    let (entries, kind) = rest.split_at_mut(8);
    state.copy_from_slice(&block.state_index.to_le_bytes());
    group.copy_from_slice(&block.key_group.to_le_bytes());
    length.copy_from_slice(&len.to_le_bytes());
    entries.copy_from_slice(&block.entries.to_le_bytes());
    kind.copy_from_slice(&KIND_BASE.to_le_bytes());
    fields
}

fn block_crc(log_id: u128, name: StateName, offset: u64, fields: &[u8], payload: &[u8]) -> u32 {
    let crc = crc_of_place(log_id, name, offset);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, fields), payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::document::BlockKind;

    const NAME: StateName = StateName {
        number: 3,
        attempt: 9,
        part: 0,
    };

    /// A block as version 1 wrote it, header and payload.
    fn block() -> (Vec<u8>, BlockEntry) {
        let block = Block {
            state_index: 1,
            key_group: 2,
            entries: 4,
        };
        let (offset, fields) = (64, block_fields(&block, 5));
        let crc = block_crc(5, NAME, offset, &fields, b"hello");
        let bytes = [&fields[..], &crc.to_le_bytes(), b"hello"].concat();
        let entry = BlockEntry {
            key_group: 2,
            kind: BlockKind::Base,
            file: 0,
            offset,
            len: 5,
            entries: 4,
            crc32c: crc,
        };
        (bytes, entry)
    }

    #[test]
    fn block_opens_where_it_was_written() {
        let (bytes, entry) = block();
        assert_eq!(open_block(5, NAME, 1, &entry, bytes).unwrap(), b"hello");
    }

    /// F33, F38, F39: a flipped bit, or a whole block of another log, checkpoint, file, place or
    /// state.
    #[test]
    fn block_opens_nowhere_else() {
        let (bytes, entry) = block();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                open_block(5, NAME, 1, &entry, flipped).is_err(),
                "bit {bit}"
            );
        }
        let open = |log, name, state, entry: &BlockEntry| {
            open_block(log, name, state, entry, bytes.clone()).is_err()
        };
        assert!(open(6, NAME, 1, &entry));
        assert!(open(5, StateName { number: 4, ..NAME }, 1, &entry));
        assert!(open(5, StateName { attempt: 8, ..NAME }, 1, &entry));
        assert!(open(5, StateName { part: 1, ..NAME }, 1, &entry));
        assert!(open(5, NAME, 0, &entry));
        assert!(open(
            5,
            NAME,
            1,
            &BlockEntry {
                offset: 72,
                ..entry
            }
        ));
        assert!(open(
            5,
            NAME,
            1,
            &BlockEntry {
                key_group: 3,
                ..entry
            }
        ));
        assert!(open(
            5,
            NAME,
            1,
            &BlockEntry {
                entries: 3,
                ..entry
            }
        ));
    }
}
