//! How long something took: a histogram that many threads may add to.

use crate::metrics::histogram::{bucket, bucket_range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Four buckets for each power of two of microseconds.
const STEP_BITS: u32 = 2;
/// Up to more than a minute.
const BUCKETS: usize = 4 * 27;

/// Counts durations in buckets that are at most a quarter wide.
#[derive(Debug)]
pub(crate) struct LatencyHistogram {
    buckets: [AtomicU64; BUCKETS],
    max_us: AtomicU64,
    total_us: AtomicU64,
}

/// The distribution of a duration. Percentiles are the upper bounds of buckets a quarter wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// Half of them took at most so long.
    pub p50: Duration,
    /// 99 percent took at most so long.
    pub p99: Duration,
    /// 99.9 percent took at most so long.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
    /// All together.
    pub total: Duration,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            max_us: AtomicU64::new(0),
            total_us: AtomicU64::new(0),
        }
    }
}

/// The bucket of `us` microseconds. The last one takes everything longer.
fn bucket_of(us: u64) -> usize {
    bucket(us, STEP_BITS).min(BUCKETS - 1)
}

/// The longest duration of a bucket, in microseconds.
fn upper_bound(bucket: usize) -> u64 {
    *bucket_range(bucket, STEP_BITS).end()
}

impl LatencyHistogram {
    pub(crate) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.buckets.get(bucket_of(us)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.max_us.fetch_max(us, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn summary(&self) -> Latency {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let count: u64 = counts.iter().sum();
        let max_us = self.max_us.load(Ordering::Relaxed);
        let at = |per_mille: u64| {
            let rank = (count * per_mille).div_ceil(1000);
            let mut seen = 0;
            let reached = counts.iter().position(|n| {
                seen += n;
                seen >= rank
            });
            Duration::from_micros(reached.map_or(0, upper_bound).min(max_us))
        };
        Latency {
            count,
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: Duration::from_micros(max_us),
            total: Duration::from_micros(self.total_us.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_join_and_are_at_most_a_quarter_wide() {
        for us in 0..100_000_u64 {
            let bucket = bucket_of(us);
            let upper = upper_bound(bucket);
            assert!(us <= upper && upper <= us + us / 4 + 1, "{us}: {upper}");
            assert!(bucket == 0 || upper_bound(bucket - 1) < us, "{us}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_upper_bounds() {
        let histogram = LatencyHistogram::default();
        assert_eq!(histogram.summary(), Latency::default());
        for us in 1..=1000 {
            histogram.record(Duration::from_micros(us));
        }
        let summary = histogram.summary();
        assert_eq!((summary.count, summary.max.as_micros()), (1000, 1000));
        assert_eq!(summary.total.as_micros(), 500_500);
        for (found, exact) in [(summary.p50, 500), (summary.p99, 990), (summary.p999, 999)] {
            let found = found.as_micros();
            assert!(
                (exact..=exact * 5 / 4).contains(&found),
                "{found} for {exact}"
            );
        }
    }
}
