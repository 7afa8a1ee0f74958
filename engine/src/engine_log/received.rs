//! When the frames of a source that no completed batch has were received, for observers.

use highwater_wal::Lsn;
use std::collections::VecDeque;

/// What a source has in the log that no completed batch has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceLag {
    /// Records.
    pub records: u64,
    /// Their bytes. What was received in the millisecond in which a batch was cut counts until the
    /// next one is complete.
    pub bytes: u64,
    /// When the oldest of them was received, in milliseconds since the Unix epoch; `None` if there
    /// is none. Records of sources that are read by offset have no time of receipt.
    pub oldest_received_ms: Option<u64>,
}

/// Frames by the millisecond in which they were received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Received {
    slices: VecDeque<Slice>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    /// Its last frame.
    last: Lsn,
    bytes: u64,
    /// What the wall clock showed.
    shown_ms: u64,
    /// The same, or what it had shown before, if it was set back.
    at_ms: u64,
}

impl Received {
    /// The frame at `lsn` comes after all others.
    pub(super) fn push(&mut self, lsn: Lsn, bytes: u64, at_ms: u64) {
        self.bytes += bytes;
        let newest = self.slices.back_mut();
        let before = newest.as_ref().map_or(0, |slice| slice.at_ms);
        match newest {
            Some(slice) if slice.shown_ms == at_ms => {
                slice.last = lsn;
                slice.bytes += bytes;
            }
            _ => self.slices.push_back(Slice {
                last: lsn,
                bytes,
                shown_ms: at_ms,
                at_ms: at_ms.max(before),
            }),
        }
    }

    /// A batch has all frames below `end`.
    pub(super) fn settle(&mut self, end: Lsn) {
        while let Some(slice) = self.slices.front()
            && slice.last < end
        {
            self.bytes -= slice.bytes;
            self.slices.pop_front();
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Frames of logs of version 1 have no time: they are as old as the oldest that has one.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        let mut times = self.slices.iter().map(|slice| slice.at_ms);
        times.find(|at_ms| *at_ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_count_until_a_batch_has_them() {
        let mut received = Received::default();
        let now = |received: &Received| (received.bytes(), received.oldest_ms());
        assert_eq!(now(&received), (0, None));
        let frames = [
            (8, 10, 1000),
            (16, 20, 1000),
            (24, 30, 1002),
            (32, 40, 1001),
        ];
        for (lsn, bytes, at_ms) in frames {
            received.push(Lsn::new(lsn), bytes, at_ms);
        }
        assert_eq!(now(&received), (100, Some(1000)));
        // In the middle of a millisecond.
        received.settle(Lsn::new(16));
        assert_eq!(now(&received), (100, Some(1000)));
        received.settle(Lsn::new(17));
        // The clock was set back: the last frame is not older than the one before.
        assert_eq!(now(&received), (70, Some(1002)));
        received.settle(Lsn::new(25));
        assert_eq!(now(&received), (40, Some(1002)));
        received.settle(Lsn::new(33));
        assert_eq!(now(&received), (0, None));
    }

    #[test]
    fn a_clock_that_stays_behind_keeps_nothing_back() {
        let mut received = Received::default();
        received.push(Lsn::new(0), 1, 1_000_000);
        (1..100).for_each(|n| received.push(Lsn::new(8 * n), 1, 500_000 + n));
        received.settle(Lsn::new(8 * 98));
        assert_eq!(
            (received.bytes(), received.oldest_ms()),
            (2, Some(1_000_000))
        );
    }

    #[test]
    fn many_frames_of_one_millisecond_take_no_memory() {
        let mut received = Received::default();
        (0..10_000).for_each(|n| received.push(Lsn::new(8 * n), 1, 7));
        assert_eq!((received.slices.len(), received.bytes()), (1, 10_000));
    }
}
