//! Keys for rivals that are ordered maps: thread, then index, so that a thread's records stay
//! together and in order.

use crate::record::index;

pub const LEN: usize = 16;

pub fn of(thread: u64, record: &[u8]) -> [u8; LEN] {
    let mut key = [0; LEN];
    key[..8].copy_from_slice(&thread.to_be_bytes());
    key[8..].copy_from_slice(&index(record).to_be_bytes());
    key
}
