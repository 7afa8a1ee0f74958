//! How often checkpoints are taken.

use std::num::NonZeroU64;
use std::time::Duration;

/// Where batches end only when they are full, an interval says nothing: a checkpoint comes after so
/// many of them.
const FULL_BATCHES: u64 = 10;

/// An interval of batches above this means that only full ones are cut.
const NO_TICKS: Duration = Duration::from_secs(365 * 24 * 3600);

/// How often a checkpoint is taken. Sooner, if the batches since the last one are long: see
/// [`Builder::max_unprocessed_bytes`](crate::Builder::max_unprocessed_bytes).
///
/// ```
/// use highwater_engine::CheckpointPolicy;
/// use std::time::Duration;
///
/// assert_eq!(CheckpointPolicy::default(), CheckpointPolicy::every(Duration::from_secs(10)));
/// let after_ten_batches = CheckpointPolicy::every_batches(10);
/// assert_ne!(after_ten_batches, CheckpointPolicy::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointPolicy {
    /// After every n-th batch.
    Every(NonZeroU64),
    /// After the smallest number of batches whose intervals together are at least this long. Where
    /// batches end only when they are full, after every 10th.
    AtLeast(Duration),
}

impl CheckpointPolicy {
    /// A checkpoint after every `n`-th batch; 0 counts as 1. Spark's rule of thumb is an interval
    /// of 5 to 10 batches, at least 10 seconds.
    #[must_use]
    pub fn every_batches(n: u64) -> Self {
        Self::Every(NonZeroU64::new(n).unwrap_or(NonZeroU64::MIN))
    }

    /// A checkpoint after the smallest multiple of the batch interval that is at least `interval`.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self::AtLeast(interval)
    }

    /// After so many batches of this interval.
    pub(crate) fn batches(self, batch_interval: Duration) -> u64 {
        match self {
            Self::Every(n) => n.get(),
            Self::AtLeast(_) if batch_interval > NO_TICKS => FULL_BATCHES,
            Self::AtLeast(interval) => {
                let batch = batch_interval.as_nanos().max(1);
                u64::try_from(interval.as_nanos().div_ceil(batch)).map_or(u64::MAX, |n| n.max(1))
            }
        }
    }
}

impl Default for CheckpointPolicy {
    /// Every ten seconds: [`Self::every`].
    fn default() -> Self {
        Self::every(Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_smallest_multiple_of_ten_seconds_or_more() {
        let default = CheckpointPolicy::default();
        for (interval_ms, batches) in [
            (1000, 10),
            (100, 100),
            (3000, 4),
            (9999, 2),
            (10_000, 1),
            (60_000, 1),
            (1, 10_000),
        ] {
            let interval = Duration::from_millis(interval_ms);
            assert_eq!(default.batches(interval), batches, "{interval_ms} ms");
        }
        assert_eq!(default.batches(Duration::MAX), FULL_BATCHES);
        assert_eq!(
            CheckpointPolicy::every_batches(0).batches(Duration::ZERO),
            1
        );
        assert_eq!(default.batches(Duration::ZERO), 10_000_000_000);
    }
}
