//! The place of a batch in time: its tick.

use crate::batch::Batch;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The place of a batch in time. All parts of a tick have the same one but for their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tick {
    /// Batch time in milliseconds since the Unix epoch, a multiple of the interval.
    pub(crate) time_ms: u64,
    /// The batch interval, in milliseconds.
    pub(crate) interval_ms: u64,
    /// Where windows are aligned: one of them ends `n` slides after it, for every `n` from 1 on.
    pub(crate) zero_ms: u64,
    /// Number of the batch within its tick, from 0.
    pub(crate) part: u32,
    /// Whether no other batch has this tick: windows, timers and timeouts move now.
    pub(crate) is_last_part: bool,
}

impl Tick {
    /// The tick of a batch of version 1, which has no parts and no zero of its own.
    pub(crate) fn of_version_1(time_ms: u64, interval_ms: u64, zero_ms: u64) -> Self {
        Self {
            time_ms,
            interval_ms,
            zero_ms,
            part: 0,
            is_last_part: true,
        }
    }

    /// Whether a window that slides every `slide_ms` ends in this batch.
    pub(crate) fn ends_slide(&self, slide_ms: u64) -> bool {
        let slide_ms = slide_ms.max(1);
        self.is_last_part && self.time_ms % slide_ms == self.zero_ms % slide_ms
    }
}

/// A batch and its place in time: what the driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) batch: Batch,
    pub(crate) tick: Tick,
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tick { time_ms, part, .. } = self.tick;
        write!(f, "{}, part {part} of tick {time_ms}", self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slides_end_at_multiples_after_zero_in_the_last_part() {
        let mut tick = Tick {
            time_ms: 13_000,
            interval_ms: 1_000,
            zero_ms: 4_000,
            part: 2,
            is_last_part: true,
        };
        assert!(tick.ends_slide(1_000) && tick.ends_slide(3_000) && tick.ends_slide(9_000));
        assert!(!tick.ends_slide(2_000) && !tick.ends_slide(u64::MAX));
        tick.is_last_part = false;
        assert!(!tick.ends_slide(1_000) && !tick.ends_slide(3_000));
        // A clock that was set back.
        (tick.time_ms, tick.is_last_part) = (1_000, true);
        assert!(tick.ends_slide(3_000) && !tick.ends_slide(2_000));
    }
}
