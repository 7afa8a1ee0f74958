//! A bucket of tokens, one for each record that may pass. It fills at the rate, up to what passes
//! in a tenth of a second.
//!
//! A frame passes as soon as there is one token, and takes one for each of its records. What it
//! takes more than there are is a debt that later ones wait off. So the size of a frame never keeps
//! it waiting longer than a small one: small ones cannot hold a large one back for ever.

use std::time::Duration;

/// A token, in the parts in which tokens are counted: then nothing is rounded.
const TOKEN: i128 = 1_000_000_000;

/// The bucket holds what passes in one second divided by this.
const BURST: u64 = 10;

/// A bucket of tokens.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Tokens per second.
    rate: u64,
    /// In parts of a token; below zero after a large frame.
    level: i128,
    /// When that was.
    at: Duration,
}

impl Bucket {
    /// A full bucket. A rate of 0 counts as 1.
    pub(crate) fn full(rate: u64, now: Duration) -> Self {
        let rate = rate.max(1);
        Self {
            rate,
            level: capacity(rate),
            at: now,
        }
    }

    /// Another rate from now on. What is in the bucket stays, and so does a debt.
    pub(crate) fn set_rate(&mut self, rate: u64, now: Duration) {
        self.fill(now);
        self.rate = rate.max(1);
        self.level = self.level.min(capacity(self.rate));
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at);
        // A token has as many parts as a second has nanoseconds.
        let nanos = i128::try_from(passed.as_nanos()).unwrap_or(i128::MAX);
        let added = nanos.saturating_mul(i128::from(self.rate));
        self.level = self.level.saturating_add(added).min(capacity(self.rate));
        self.at = self.at.max(now);
    }

    /// Takes `count` tokens, or tells when the next one is there.
    pub(crate) fn take(&mut self, count: u64, now: Duration) -> Result<(), Duration> {
        self.ready(now)?;
        self.level = self.level.saturating_sub(tokens(count));
        Ok(())
    }

    /// Whether there is a token; if not, when the next one is there.
    pub(crate) fn ready(&mut self, now: Duration) -> Result<(), Duration> {
        self.fill(now);
        let missing = TOKEN.saturating_sub(self.level);
        if missing <= 0 {
            return Ok(());
        }
        let rate = i128::from(self.rate);
        let nanos = missing.saturating_add(rate - 1) / rate;
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Err(now.saturating_add(wait))
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&mut self, count: u64) {
        let level = self.level.saturating_add(tokens(count));
        self.level = level.min(capacity(self.rate));
    }
}

fn tokens(count: u64) -> i128 {
    i128::from(count).saturating_mul(TOKEN)
}

/// At least one token: otherwise a small rate would let nothing pass.
fn capacity(rate: u64) -> i128 {
    tokens((rate / BURST).max(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_tenth_of_a_second_passes_at_once_and_then_one_record_at_a_time() {
        let mut bucket = Bucket::full(100, ms(0));
        for _ in 0..10 {
            assert_eq!(bucket.take(1, ms(0)), Ok(()));
        }
        assert_eq!(bucket.take(1, ms(0)), Err(ms(10)));
        assert_eq!(bucket.take(1, ms(9)), Err(ms(10)));
        assert_eq!(bucket.take(1, ms(10)), Ok(()));
        assert_eq!(bucket.take(1, ms(10)), Err(ms(20)));
        // However long nothing passes, no more than a tenth of a second is saved up.
        for _ in 0..10 {
            assert_eq!(bucket.take(1, ms(60_000)), Ok(()));
        }
        assert_eq!(bucket.take(1, ms(60_000)), Err(ms(60_010)));
    }

    #[test]
    fn a_frame_that_is_larger_than_the_bucket_passes_and_leaves_a_debt() {
        let mut bucket = Bucket::full(100, ms(0));
        assert_eq!(bucket.take(210, ms(0)), Ok(()));
        assert_eq!(bucket.take(1, ms(0)), Err(ms(2010)));
        assert_eq!(bucket.take(1, ms(2009)), Err(ms(2010)));
        assert_eq!(bucket.take(1, ms(2010)), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_taken_and_never_overfills() {
        let mut bucket = Bucket::full(10, ms(0));
        assert_eq!(bucket.take(3, ms(0)), Ok(()));
        bucket.give_back(3);
        assert_eq!(bucket.take(1, ms(0)), Ok(()));
        bucket.give_back(100);
        assert_eq!(bucket.take(1, ms(0)), Ok(()));
        assert_eq!(bucket.take(1, ms(0)), Err(ms(100)));
    }

    #[test]
    fn another_rate_holds_from_the_moment_on_at_which_it_is_set() {
        let mut bucket = Bucket::full(10, ms(0));
        assert_eq!(bucket.take(1, ms(0)), Ok(()));
        // Half a token is there; the other half comes at the new rate.
        bucket.set_rate(1000, ms(50));
        assert_eq!(bucket.take(1, ms(50)), Err(Duration::from_micros(50_500)));
        bucket.set_rate(1, Duration::from_micros(50_500));
        assert_eq!(bucket.take(1, ms(51)), Ok(()), "that token was there");
        bucket.set_rate(4, ms(1051));
        assert_eq!(bucket.take(1, ms(1051)), Ok(()));
        assert_eq!(bucket.take(1, ms(1051)), Err(ms(1301)));
    }

    #[test]
    fn extremes_do_not_overflow() {
        for rate in [0, 1, u64::MAX] {
            let mut bucket = Bucket::full(rate, Duration::ZERO);
            for _ in 0..3 {
                let _any = bucket.take(u64::MAX, Duration::MAX);
            }
            bucket.give_back(u64::MAX);
            bucket.set_rate(u64::MAX, Duration::ZERO);
            let _any = bucket.take(1, Duration::ZERO);
        }
    }

    proptest! {
        /// Whatever comes, no span of time lets more pass than its rate, a tenth of a second and
        /// one frame.
        #[test]
        fn no_span_of_time_exceeds_the_rate(
            rate in 1_u64..5000,
            steps in prop::collection::vec((0_u64..400, 1_u64..300), 1..200),
        ) {
            let mut bucket = Bucket::full(rate, ms(0));
            let (mut now, mut passed) = (0, Vec::new());
            for (wait, count) in steps {
                now += wait;
                if bucket.take(count, ms(now)).is_ok() {
                    passed.push((now, count));
                }
            }
            for (first, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (to, count) in passed.iter().skip(first) {
                    sum += count;
                    let most = rate * (to - from) / 1000 + 1 + (rate / 10).max(1) + count;
                    prop_assert!(sum <= most, "{sum} > {most} from {from} to {to}");
                }
            }
        }
    }
}
