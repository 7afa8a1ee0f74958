//! The beginning of a state file, the same in every version.

use crate::format::FILE_HEADER_LEN;
use crate::store::names::StateName;

const FILE_HEADER: usize = 64;
const CRC: usize = 4;
const MAGIC: [u8; 8] = *b"HWSTATE\n";

const _: () = {
    // Magic, version, part, log id, checkpoint, attempt, zeros, checksum.
    assert!(FILE_HEADER == 8 + 4 + 4 + 16 + 8 + 8 + 12 + CRC);
    assert!(FILE_HEADER as u64 == FILE_HEADER_LEN);
};

/// The header of the file `name`.
pub(crate) fn file_header(version: u32, log_id: u128, name: StateName) -> Vec<u8> {
    let mut header = Vec::with_capacity(FILE_HEADER);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&version.to_le_bytes());
    header.extend_from_slice(&name.part.to_le_bytes());
    header.extend_from_slice(&log_id.to_le_bytes());
    header.extend_from_slice(&name.number.to_le_bytes());
    header.extend_from_slice(&name.attempt.to_le_bytes());
    header.extend_from_slice(&[0; 12]);
    let crc = crc32c::crc32c(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    header
}

/// A checksum that begins with a place: the same bytes elsewhere do not pass.
pub(crate) fn crc_of_place(log_id: u128, name: StateName, offset: u64) -> u32 {
    let mut crc = crc32c::crc32c(&log_id.to_le_bytes());
    for place in [name.number, name.attempt, u64::from(name.part), offset] {
        crc = crc32c::crc32c_append(crc, &place.to_le_bytes());
    }
    crc
}
