//! When a stream has records: in every batch, or only when a window ends.

use crate::batch::tick::Tick;
use std::fmt;

/// When a stream has records. What reads the stream acts only then, as in Spark: an operator of
/// whole batches emits nothing in between, and an output is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Slide {
    /// In every batch, also in each part of a tick.
    #[default]
    EveryBatch,
    /// In the last part of every tick that is a multiple of so many milliseconds after zero.
    Millis(u64),
}

/// The slides on both sides of an operator. They differ for a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slides {
    /// Of what it reads: when it acts.
    pub(crate) input: Slide,
    /// Of what it emits.
    pub(crate) output: Slide,
}

impl Slide {
    /// Whether a stream has records in a batch.
    pub(crate) fn ends_in(self, tick: &Tick) -> bool {
        match self {
            Self::EveryBatch => true,
            Self::Millis(slide_ms) => tick.ends_slide(slide_ms),
        }
    }

    /// The length of time between two batches in which the stream has records.
    pub(crate) fn millis(self, interval_ms: u64) -> u64 {
        match self {
            Self::EveryBatch => interval_ms,
            Self::Millis(slide_ms) => slide_ms,
        }
    }

    /// What an operator that reads both streams has; `None` if they do not have records in the same
    /// batches.
    pub(crate) fn combined(self, other: Self, interval_ms: u64) -> Option<Self> {
        if self == other {
            return Some(self);
        }
        // A window that slides with every tick goes with a stream of every batch.
        (self.millis(interval_ms) == other.millis(interval_ms)).then_some(Self::EveryBatch)
    }
}

impl fmt::Display for Slide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EveryBatch => f.write_str("every batch"),
            Self::Millis(slide_ms) => write!(f, "every {slide_ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_combine_if_they_have_records_at_the_same_ticks() {
        let (every, one, two) = (
            Slide::EveryBatch,
            Slide::Millis(1_000),
            Slide::Millis(2_000),
        );
        assert_eq!(every.combined(every, 1_000), Some(every));
        assert_eq!(every.combined(one, 1_000), Some(every));
        assert_eq!(two.combined(two, 1_000), Some(two));
        assert_eq!(two.combined(one, 1_000), None);
        assert_eq!(every.combined(two, 1_000), None);
    }
}
