//! The byte layout of state files, its only copy. Little-endian throughout; described in
//! `docs/format/checkpoint.md`.
//!
//! A file is a header, then blocks. A block is a header, the payload and zeros up to a multiple of
//! 8. The block checksum covers header and payload, and the log, checkpoint, attempt, part and
//!    offset
//! of the block. So a whole block in the wrong place never passes.

use crate::error::{CheckpointError, Result};
use crate::format::{BLOCK_HEADER_LEN, FILE_HEADER_LEN};
use crate::manifest::document::{BlockEntry, BlockKind};
use crate::store::names::StateName;

const FILE_HEADER: usize = 64;

/// State index, key group, length, entries, kind.
const BLOCK_FIELDS: usize = 4 + 4 + 8 + 8 + 4;
const BLOCK_HEADER: usize = BLOCK_FIELDS + CRC;
const CRC: usize = 4;

/// Blocks begin at multiples of this.
const ALIGN: usize = 8;

const MAGIC: [u8; 8] = *b"HWSTATE\n";
const VERSION: u32 = 1;
const KIND_BASE: u32 = 1;

const _: () = {
    // Magic, version, part, log id, checkpoint, attempt, zeros, checksum.
    assert!(FILE_HEADER == 8 + 4 + 4 + 16 + 8 + 8 + 12 + CRC);
    assert!(FILE_HEADER as u64 == FILE_HEADER_LEN && BLOCK_HEADER as u64 == BLOCK_HEADER_LEN);
    assert!(FILE_HEADER.is_multiple_of(ALIGN) && BLOCK_HEADER.is_multiple_of(ALIGN));
};

/// A state file that is being filled in memory.
#[derive(Debug)]
pub(crate) struct StateFile {
    log_id: u128,
    name: StateName,
    bytes: Vec<u8>,
}

/// A block before it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) state_index: u32,
    pub(crate) key_group: u32,
    pub(crate) entries: u64,
    pub(crate) payload: &'a [u8],
}

impl StateFile {
    pub(crate) fn new(log_id: u128, name: StateName) -> Self {
        Self {
            log_id,
            name,
            bytes: file_header(log_id, name),
        }
    }

    pub(crate) fn name(&self) -> StateName {
        self.name
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether there is no block in it yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == FILE_HEADER_LEN
    }

    /// Appends a block and returns where it is.
    pub(crate) fn push(&mut self, block: Block<'_>) -> BlockEntry {
        let offset = self.len();
        let len = block.payload.len() as u64;
        let fields = block_fields(&block, len);
        let crc = block_crc(self.log_id, self.name, offset, &fields, block.payload);
        self.bytes.extend_from_slice(&fields);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes.extend_from_slice(block.payload);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        BlockEntry {
            key_group: block.key_group,
            kind: BlockKind::Base,
            file: self.name.part,
            offset,
            len,
            entries: block.entries,
            crc32c: crc,
        }
    }
}

/// Checks the bytes of one block, header and payload, against the manifest and returns the payload.
pub(crate) fn open_block(
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
        payload,
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

fn file_header(log_id: u128, name: StateName) -> Vec<u8> {
    let mut header = Vec::with_capacity(FILE_HEADER);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&name.part.to_le_bytes());
    header.extend_from_slice(&log_id.to_le_bytes());
    header.extend_from_slice(&name.number.to_le_bytes());
    header.extend_from_slice(&name.attempt.to_le_bytes());
    header.extend_from_slice(&[0; 12]);
    let crc = crc32c::crc32c(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    header
}

/// A block header without its checksum.
fn block_fields(block: &Block<'_>, len: u64) -> [u8; BLOCK_FIELDS] {
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
    let mut crc = crc32c::crc32c(&log_id.to_le_bytes());
    for place in [name.number, name.attempt, u64::from(name.part), offset] {
        crc = crc32c::crc32c_append(crc, &place.to_le_bytes());
    }
    crc32c::crc32c_append(crc32c::crc32c_append(crc, fields), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: StateName = StateName {
        number: 3,
        attempt: 9,
        part: 0,
    };

    fn file() -> (StateFile, BlockEntry) {
        let mut file = StateFile::new(5, NAME);
        let block = Block {
            state_index: 1,
            key_group: 2,
            entries: 4,
            payload: b"hello",
        };
        let entry = file.push(block);
        (file, entry)
    }

    fn raw(file: &StateFile, entry: &BlockEntry) -> Vec<u8> {
        let from = usize::try_from(entry.offset).unwrap();
        file.bytes()[from..from + BLOCK_HEADER + 5].to_vec()
    }

    #[test]
    fn block_opens_where_it_was_written() {
        let (file, entry) = file();
        assert_eq!(file.len(), FILE_HEADER_LEN + BLOCK_HEADER_LEN + 8);
        assert_eq!(
            open_block(5, NAME, 1, &entry, raw(&file, &entry)).unwrap(),
            b"hello"
        );
    }

    /// F33, F38, F39: a flipped bit, or a whole block of another log, checkpoint, file, place or
    /// state.
    #[test]
    fn block_opens_nowhere_else() {
        let (file, entry) = file();
        let bytes = raw(&file, &entry);
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
