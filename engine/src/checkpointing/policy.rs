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
    /// As rarely as a recovery within this time allows: see [`CheckpointPolicy::recovery_target`].
    RecoveryTarget(Duration),
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

    /// The longest time between checkpoints with which a recovery takes no longer than `target`, by
    /// what was measured.
    ///
    /// A recovery loads the newest published checkpoint and runs the batches after it again. The
    /// worst crash comes just before the next checkpoint is published. So one is taken after a
    /// batch if it could not wait for the next batch: if loading, and running all batches since the
    /// newest published one, one more, and those that come while a checkpoint is written, would
    /// take longer than `target`.
    ///
    /// - Replay: a batch without records costs what such batches took; what the others took longer
    ///   counts by the bytes of their log. Outputs are in it, though a replay publishes none.
    ///   Batches that failed, or waited for an output, do not count. About the last twenty do.
    /// - Loading: [`Lineage::load_time`](crate::Lineage::load_time), known from the start on.
    /// - Writing: as long as it took for the newest one; in a new run, as long as loading.
    ///
    /// It is an estimate: a batch that is far larger than those before it is not foreseen. What
    /// waits to be processed at the time of a crash is no part of the recovery.
    ///
    /// Until a checkpoint and a batch with records were seen, checkpoints come as by default. So
    /// they do where the target cannot be met even by checkpoints one right after the other: those
    /// would only make batches slow. That is told once, with the numbers. A checkpoint also comes
    /// after [`max_unprocessed_bytes`](crate::Builder::max_unprocessed_bytes) of log.
    ///
    /// ```
    /// use highwater_engine::CheckpointPolicy;
    /// use std::time::Duration;
    ///
    /// let within_a_minute = CheckpointPolicy::recovery_target(Duration::from_secs(60));
    /// assert_ne!(within_a_minute, CheckpointPolicy::every(Duration::from_secs(60)));
    /// ```
    #[must_use]
    pub fn recovery_target(target: Duration) -> Self {
        Self::RecoveryTarget(target)
    }

    /// The time within which a recovery is to be done, if there is one.
    pub(crate) fn target(self) -> Option<Duration> {
        match self {
            Self::RecoveryTarget(target) => Some(target),
            Self::Every(_) | Self::AtLeast(_) => None,
        }
    }

    /// After so many batches of this interval; with a recovery target, as long as it does not
    /// decide.
    pub(crate) fn batches(self, batch_interval: Duration) -> u64 {
        match self {
            Self::RecoveryTarget(_) => Self::default().batches(batch_interval),
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
        let target = CheckpointPolicy::recovery_target(Duration::from_secs(60));
        assert_eq!(
            target.batches(Duration::from_secs(3)),
            4,
            "until it decides"
        );
    }
}
