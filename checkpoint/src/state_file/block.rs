//! What a block holds: which state and key group, from which checkpoint on, and its payload,
//! compressed.

use crate::manifest::document::BlockKind;
use crate::merge::Payload;
use crate::options::Layout;
use crate::state_file::columns::join::{join, most};
use crate::state_file::columns::split::split;
use crate::state_file::header::crc_of_place;
use crate::store::names::StateName;
use std::io::Read;

/// Fields of a block in the index, without its place and checksum.
pub(crate) const FIELDS: usize = 4 + 4 + 2 + 2 + 8 + 8 + 8 + 8 + 8 + 8;

/// Of zstd: level 1 takes in about 650 MB/s, and higher ones gain little on small blocks.
const LEVEL: i32 = 1;

/// How the payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Zstd,
    /// By columns, then zstd.
    Columns,
}

/// What is said of a block. Its payload has the state of one key group as of the checkpoint `upto`:
/// all of it, or what has changed since the checkpoint `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockInfo {
    /// Of [`StateEntry::id`](crate::StateEntry::id).
    pub(crate) state: u32,
    pub(crate) key_group: u32,
    pub(crate) kind: BlockKind,
    pub(crate) packing: Packing,
    pub(crate) after: u64,
    pub(crate) upto: u64,
    /// Length of the payload as it is stored.
    pub(crate) len: u64,
    /// Length of the payload.
    pub(crate) raw_len: u64,
    pub(crate) removed: u64,
    pub(crate) entries: u64,
}

/// A block before it is in a file.
#[derive(Debug)]
pub(crate) struct PackedBlock {
    pub(crate) info: BlockInfo,
    pub(crate) stored: Vec<u8>,
}

impl PackedBlock {
    /// Compresses a payload, if that makes it smaller. Of `info` the lengths, counts and packing
    /// are set here.
    pub(crate) fn new(info: BlockInfo, payload: &Payload, layout: Layout) -> Self {
        let raw_len = payload.bytes.len() as u64;
        let is_smaller = |packed: &Vec<u8>| (packed.len() as u64) < raw_len;
        // An error here could only be one of memory: then it is stored as it is.
        let packed = |bytes: &[u8]| zstd::bulk::compress(bytes, LEVEL).ok().filter(is_smaller);
        let columns = match layout {
            Layout::Rows => None,
            Layout::Columns => split(payload).and_then(|columns| packed(&columns)),
        };
        let columns = columns.map(|packed| (Packing::Columns, packed));
        let other = || packed(&payload.bytes).map(|packed| (Packing::Zstd, packed));
        let plain = || (Packing::Plain, payload.bytes.clone());
        let (packing, stored) = columns.or_else(other).unwrap_or_else(plain);
        Self {
            info: BlockInfo {
                packing,
                len: stored.len() as u64,
                raw_len,
                removed: payload.removed,
                entries: payload.entries,
                ..info
            },
            stored,
        }
    }

    /// The payload.
    pub(crate) fn unpack(&self) -> Result<Payload, String> {
        let bytes = match self.info.packing {
            Packing::Plain => self.stored.clone(),
            Packing::Zstd => unpacked(&self.stored, self.info.raw_len)?,
            Packing::Columns => {
                let columns = unpacked(&self.stored, most(self.info.raw_len))?;
                let BlockInfo {
                    removed,
                    entries,
                    raw_len,
                    ..
                } = self.info;
                join(&columns, removed, entries, raw_len)?
            }
        };
        if bytes.len() as u64 != self.info.raw_len {
            let (found, expected) = (bytes.len(), self.info.raw_len);
            return Err(format!("it unpacks to {found} bytes, not to {expected}"));
        }
        Ok(Payload {
            removed: self.info.removed,
            entries: self.info.entries,
            bytes,
        })
    }
}

/// At most a byte more than `len`. Memory follows what is really there.
fn unpacked(stored: &[u8], len: u64) -> Result<Vec<u8>, String> {
    let what = |e: std::io::Error| format!("it does not unpack: {e}");
    let decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(what)?;
    let mut bytes = Vec::new();
    let mut limited = decoder.take(len.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(what)?;
    Ok(bytes)
}

impl BlockInfo {
    pub(crate) fn encode(&self) -> [u8; FIELDS] {
        let mut fields = [0; FIELDS];
        let kind: u16 = match self.kind {
            BlockKind::Base => 1,
            BlockKind::Delta => 2,
        };
        let packing: u16 = match self.packing {
            Packing::Plain => 0,
            Packing::Zstd => 1,
            Packing::Columns => 2,
        };
        let (head, numbers) = fields.split_at_mut(12);
        let parts = [
            &self.state.to_le_bytes()[..],
            &self.key_group.to_le_bytes(),
            &kind.to_le_bytes(),
            &packing.to_le_bytes(),
        ];
        head.copy_from_slice(&parts.concat());
        let values = [
            self.after,
            self.upto,
            self.len,
            self.raw_len,
            self.removed,
            self.entries,
        ];
        for (place, value) in numbers.chunks_exact_mut(8).zip(values) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        fields
    }

    /// `None` if a field has a value that this version does not know.
    pub(crate) fn decode(fields: &[u8; FIELDS]) -> Option<Self> {
        let (head, numbers) = fields.split_at(12);
        let u32_at = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let u16_at = |at: usize| Some(u16::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let mut numbers = numbers.chunks_exact(8).map_while(|n| {
            let n = n.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*n))
        });
        Some(Self {
            state: u32_at(0)?,
            key_group: u32_at(4)?,
            kind: match u16_at(8)? {
                1 => BlockKind::Base,
                2 => BlockKind::Delta,
                _ => return None,
            },
            packing: match u16_at(10)? {
                0 => Packing::Plain,
                1 => Packing::Zstd,
                2 => Packing::Columns,
                _ => return None,
            },
            after: numbers.next()?,
            upto: numbers.next()?,
            len: numbers.next()?,
            raw_len: numbers.next()?,
            removed: numbers.next()?,
            entries: numbers.next()?,
        })
    }

    /// The checksum of the block in the file `name`, at `offset`.
    pub(crate) fn crc(&self, log_id: u128, name: StateName, offset: u64, stored: &[u8]) -> u32 {
        let crc = crc32c::crc32c_append(crc_of_place(log_id, name, offset), &self.encode());
        crc32c::crc32c_append(crc, stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::append_item;

    const INFO: BlockInfo = BlockInfo {
        state: 7,
        key_group: 8,
        kind: BlockKind::Delta,
        packing: Packing::Plain,
        after: 1,
        upto: 2,
        len: 0,
        raw_len: 0,
        removed: 0,
        entries: 0,
    };

    fn packed(bytes: Vec<u8>) -> PackedBlock {
        let payload = Payload {
            removed: 3,
            entries: 4,
            bytes,
        };
        PackedBlock::new(INFO, &payload, Layout::Rows)
    }

    fn by_columns() -> PackedBlock {
        let mut bytes = Vec::new();
        for n in 0..200_u8 {
            append_item(&mut bytes, &[0xCC, n]);
            append_item(&mut bytes, &[0x81, 0xA4, b'n', b'a', b'm', b'e', 0xCC, n]);
        }
        let payload = Payload {
            removed: 0,
            entries: 200,
            bytes,
        };
        PackedBlock::new(INFO, &payload, Layout::Columns)
    }

    #[test]
    fn a_payload_comes_back_and_is_smaller_if_it_can_be() {
        for (bytes, packing) in [
            (vec![7; 1000], Packing::Zstd),
            (vec![], Packing::Plain),
            ((0..=255).collect(), Packing::Plain),
        ] {
            let block = packed(bytes.clone());
            assert_eq!(block.info.packing, packing);
            assert_eq!(block.unpack().unwrap().bytes, bytes);
            assert_eq!(BlockInfo::decode(&block.info.encode()), Some(block.info));
        }
    }

    /// F87: what a block claims is no reason to allocate.
    #[test]
    fn a_wrong_length_is_an_error_whatever_it_is() {
        for mut block in [packed(vec![7; 1000]), by_columns()] {
            let right = block.info.raw_len;
            for wrong in [0, right - 1, right + 1, u64::MAX] {
                block.info.raw_len = wrong;
                assert!(block.unpack().is_err(), "{wrong}");
            }
            block.info.raw_len = right;
            for cut in 0..block.stored.len() {
                let stored = block.stored[..cut].to_vec();
                let info = block.info;
                assert!(PackedBlock { info, stored }.unpack().is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn columns_are_smaller_and_say_what_they_are() {
        let block = by_columns();
        assert_eq!(block.info.packing, Packing::Columns);
        assert_eq!(BlockInfo::decode(&block.info.encode()), Some(block.info));
        let payload = block.unpack().unwrap();
        let rows = PackedBlock::new(INFO, &payload, Layout::Rows);
        assert_eq!(rows.unpack().unwrap(), payload);
        let lens = (block.stored.len(), rows.stored.len());
        assert!(lens.0 < lens.1, "{lens:?}");
        // What does not come apart is stored as ever.
        let other = Payload {
            bytes: vec![7; 1000],
            ..Payload::default()
        };
        let block = PackedBlock::new(INFO, &other, Layout::Columns);
        assert_eq!(block.info.packing, Packing::Zstd);
        assert_eq!(block.unpack().unwrap().bytes, other.bytes);
    }
}
