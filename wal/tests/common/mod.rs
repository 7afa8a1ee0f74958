//! Shared by the scenario files.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod executor;
pub(crate) mod model;
pub(crate) mod mounted;
pub(crate) mod process;
pub(crate) mod warnings;

use highwater_wal::{Compression, Lsn, Options, Wal};

/// Small segments, so that tests rotate.
pub(crate) fn options() -> Options {
    Options::new().segment_size(16 << 10).log_id_seed(7)
}

/// Batches compressed at level 1, where the build has zstd.
pub(crate) fn zstd() -> Compression {
    #[cfg(feature = "zstd")]
    return Compression::Zstd { level: 1 };
    #[cfg(not(feature = "zstd"))]
    return Compression::Off;
}

/// Payloads of all records that the log shows.
pub(crate) fn contents(log: &Wal) -> Vec<Vec<u8>> {
    log.read_from(Lsn::ZERO)
        .unwrap()
        .map(|r| r.unwrap().payload.to_vec())
        .collect()
}

/// Texts as payloads.
pub(crate) fn payloads<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.iter().map(|t| t.as_bytes().to_vec()).collect()
}

/// Computes both checksums of the frame at offset `at` of a segment anew: for frames that are
/// changed on purpose.
pub(crate) fn reseal(segment: &mut [u8], at: usize) {
    use highwater_wal::layout::{frame_header, segment_header};
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let id = segment[segment_header::LOG_ID..segment_header::BASE].to_vec();
    let base = number(&segment[segment_header::BASE..segment_header::SIZE]);
    let frame = &mut segment[at..];
    let len = u32::from_le_bytes(frame[..4].try_into().unwrap());
    let fields = [&frame[..4], &frame[8..12]].concat();
    let place = [&id[..], &(base + at as u64).to_le_bytes(), &fields].concat();
    let payload = &frame[frame_header::END..][..usize::try_from(len).unwrap()];
    let crc = crc32c::crc32c(&[payload, &place].concat());
    frame[frame_header::CRC..][..4].copy_from_slice(&crc.to_le_bytes());
    let header_crc = crc32c::crc32c(&place);
    frame[frame_header::HEADER_CRC..][..4].copy_from_slice(&header_crc.to_le_bytes());
}
