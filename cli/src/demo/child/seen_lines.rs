//! Which lines were counted: a bit for each, 64 lines per key of the state `lines`.

use serde::{Deserialize, Serialize};

const LINES_PER_KEY: u64 = 64;

/// The state of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenLines {
    /// The lines that were counted.
    pub(crate) seen: u64,
    /// How often a line was counted that had been counted before.
    pub(crate) again: u64,
}

impl SeenLines {
    /// The key of a line.
    pub(crate) fn key(number: u64) -> u64 {
        number / LINES_PER_KEY
    }

    /// The bit of a line.
    pub(crate) fn bit(number: u64) -> u32 {
        u32::try_from(number % LINES_PER_KEY).unwrap_or(0)
    }

    /// The bits of `key` if lines `0..lines` were counted.
    pub(crate) fn expected(key: u64, lines: u64) -> u64 {
        let from_here = lines.saturating_sub(key.saturating_mul(LINES_PER_KEY));
        if from_here >= LINES_PER_KEY {
            u64::MAX
        } else {
            (1 << from_here) - 1
        }
    }

    /// Counts a line.
    pub(crate) fn add(&mut self, bit: u32) {
        let mask = 1_u64 << (bit % 64);
        self.again += u64::from(self.seen & mask != 0);
        self.seen |= mask;
    }
}
