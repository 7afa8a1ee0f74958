//! Where the blocks of a file are: the index after the last one, and a footer that finds it.

use crate::error::{CheckpointError, Result};
use crate::format::FILE_HEADER_LEN;
use crate::state_file::block::{BlockInfo, FIELDS};
use crate::state_file::header::crc_of_place;
use crate::store::Store;
use crate::store::names::StateName;
use std::io;

/// An entry: fields of the block, offset, checksum.
const ENTRY: usize = FIELDS + 8 + 4;

/// Offset of the index, number of entries, checksum, zeros, magic.
const FOOTER: usize = 8 + 8 + 4 + 4 + 8;
const MAGIC: [u8; 8] = *b"HWINDEX\n";

/// So many bytes at the end of a file are read at first: most indices are in there.
const TAIL: u64 = 64 << 10;

/// A block in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) info: BlockInfo,
    pub(crate) offset: u64,
    pub(crate) crc32c: u32,
}

/// Index and footer of the file `name`, for its end at `offset`.
pub(crate) fn encode(
    log_id: u128,
    name: StateName,
    offset: u64,
    entries: &[IndexEntry],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY + FOOTER);
    for entry in entries {
        bytes.extend_from_slice(&entry.info.encode());
        bytes.extend_from_slice(&entry.offset.to_le_bytes());
        bytes.extend_from_slice(&entry.crc32c.to_le_bytes());
    }
    let count = entries.len() as u64;
    let crc = crc(log_id, name, offset, count, &bytes);
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&MAGIC);
    bytes
}

fn crc(log_id: u128, name: StateName, offset: u64, count: u64, entries: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc_of_place(log_id, name, offset), &count.to_le_bytes());
    crc32c::crc32c_append(crc, entries)
}

/// Reads the index of the file `name`, which has `size` bytes.
pub(crate) fn read(
    store: &dyn Store,
    log_id: u128,
    name: StateName,
    size: u64,
) -> Result<Vec<IndexEntry>> {
    let file = name.to_string();
    let damaged = |what: &str| CheckpointError::damaged(&file, None, what.to_owned());
    let from = size.saturating_sub(TAIL);
    let tail = get(store, &file, from, size - from)?;
    let (rest, footer) = tail
        .split_last_chunk::<FOOTER>()
        .ok_or_else(|| damaged("it has no index"))?;
    let (offset, count) = open_footer(footer).ok_or_else(|| damaged("it has no index"))?;
    let len = size - FOOTER as u64;
    let expected = count.checked_mul(ENTRY as u64);
    let fits = offset >= FILE_HEADER_LEN && expected == len.checked_sub(offset);
    if !fits {
        return Err(damaged("the length of its index is wrong"));
    }
    let entries = match offset.checked_sub(from) {
        Some(at) => usize::try_from(at)
            .ok()
            .and_then(|at| rest.get(at..))
            .ok_or_else(|| damaged("the place of its index is wrong"))?
            .to_vec(),
        None => get(store, &file, offset, len - offset)?,
    };
    let expected = footer.get(16..20);
    if expected != Some(&crc(log_id, name, offset, count, &entries).to_le_bytes()[..]) {
        return Err(damaged("the checksum of its index does not match"));
    }
    let entries = entries.chunks_exact(ENTRY).map(|entry| open(entry, offset));
    let entries: Option<Vec<IndexEntry>> = entries.collect();
    entries.ok_or_else(|| damaged("its index makes no sense"))
}

fn get(store: &dyn Store, file: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
    let bytes = store.get_range(file, offset, len);
    bytes.map_err(|e| lost(file, offset, e))
}

/// Where the index begins, and how many entries it has.
fn open_footer(footer: &[u8; FOOTER]) -> Option<(u64, u64)> {
    let (offset, rest) = footer.split_first_chunk::<8>()?;
    let (count, _) = rest.split_first_chunk::<8>()?;
    let is_footer = footer.ends_with(&MAGIC) && footer.get(20..24) == Some(&[0; 4]);
    is_footer.then(|| (u64::from_le_bytes(*offset), u64::from_le_bytes(*count)))
}

/// An entry whose block ends before the index.
fn open(entry: &[u8], end: u64) -> Option<IndexEntry> {
    let (fields, rest) = entry.split_first_chunk::<FIELDS>()?;
    let (offset, crc) = rest.split_first_chunk::<8>()?;
    let (info, offset) = (BlockInfo::decode(fields)?, u64::from_le_bytes(*offset));
    let inside = offset >= FILE_HEADER_LEN && offset.checked_add(info.len)? <= end;
    inside.then_some(IndexEntry {
        info,
        offset,
        crc32c: u32::from_le_bytes(*crc.first_chunk()?),
    })
}

/// A file that is missing or short is damage. Any other failure may pass, and is never taken for
/// damage: otherwise a short failure of the store would make an older checkpoint the newest.
pub(crate) fn lost(name: &str, offset: u64, e: io::Error) -> CheckpointError {
    match e.kind() {
        io::ErrorKind::NotFound => CheckpointError::damaged(name, None, "the file is missing"),
        io::ErrorKind::UnexpectedEof => {
            CheckpointError::damaged(name, Some(offset), "the file ends too soon")
        }
        _ => CheckpointError::io("read", name, e),
    }
}
