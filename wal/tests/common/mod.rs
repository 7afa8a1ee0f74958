//! Shared by the scenario files.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod model;
pub(crate) mod mounted;
pub(crate) mod process;

use highwater_wal::{Lsn, Options, Wal};

/// Small segments, so that tests rotate.
pub(crate) fn options() -> Options {
    Options::new().segment_size(16 << 10).log_id_seed(7)
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
