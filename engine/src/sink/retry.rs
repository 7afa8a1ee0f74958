//! How often, and after what waits, a sink that fails is tried again.

use std::time::Duration;

/// What becomes of a batch whose sink fails: it waits and is tried again, with the same records.
///
/// The wait doubles from attempt to attempt, from 100 ms up to 10 s, and is shortened by up to a
/// quarter by chance, so that many programs do not come back at once. By default this goes on for
/// ever: the context lives, takes in data up to its bound, and
/// [`outputs`](crate::ContextObserver::outputs) shows what it waits for. A stop ends the wait
/// after one more attempt.
///
/// ```
/// # use highwater_engine::{OutputRetry, StreamingContext};
/// # use std::time::Duration;
/// # fn main() {
/// let builder = StreamingContext::builder("app")
///     .output_retry(OutputRetry::forever().give_up_after(Duration::from_secs(3600)));
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputRetry {
    first: Duration,
    longest: Duration,
    attempts: Option<u64>,
    time: Option<Duration>,
}

impl Default for OutputRetry {
    fn default() -> Self {
        Self::forever()
    }
}

impl OutputRetry {
    /// Until it succeeds.
    #[must_use]
    pub fn forever() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            attempts: None,
            time: None,
        }
    }

    /// Not at all: the first error of an output stops the context.
    #[must_use]
    pub fn never() -> Self {
        Self::forever().give_up_after_attempts(1)
    }

    /// Sets the wait after the first failure, and the longest one.
    #[must_use]
    pub fn waits(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest.max(first);
        self
    }

    /// After so many attempts at one batch, the error stops the context. At least 1.
    #[must_use]
    pub fn give_up_after_attempts(mut self, attempts: u64) -> Self {
        self.attempts = Some(attempts.max(1));
        self
    }

    /// After so much time since the first failure of a batch, the error stops the context.
    #[must_use]
    pub fn give_up_after(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Whether there is never a second attempt.
    pub(crate) fn is_never(&self) -> bool {
        self.attempts == Some(1)
    }

    /// Whether another attempt follows after so many, the first of them `failing` ago.
    pub(crate) fn goes_on(&self, attempts: u64, failing: Duration) -> bool {
        self.attempts.is_none_or(|most| attempts < most)
            && self.time.is_none_or(|longest| failing < longest)
    }

    /// How long to wait after so many attempts. `chance` shortens it by up to a quarter.
    pub(crate) fn wait(&self, attempts: u64, chance: u64) -> Duration {
        let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.saturating_pow(doublings.min(31));
        let full = self.first.saturating_mul(factor).min(self.longest);
        let share = u32::try_from(chance % 1000).unwrap_or(0);
        full - full / 4000 * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_chance_takes_a_quarter_at_most() {
        let retry = OutputRetry::forever();
        let waits: Vec<u128> = (1..=9).map(|n| retry.wait(n, 0).as_millis()).collect();
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000];
        assert_eq!(waits, expected);
        assert_eq!(retry.wait(u64::MAX, 0), Duration::from_secs(10));
        for (attempts, chance) in (1..20).flat_map(|n| (0..1000).map(move |c| (n, c))) {
            let full = retry.wait(attempts, 0);
            let wait = retry.wait(attempts, chance);
            assert!(wait <= full && wait > full / 4 * 3, "{wait:?} of {full:?}");
        }
        assert!(retry.wait(3, 999) < retry.wait(3, 1));
    }

    #[test]
    fn it_goes_on_until_attempts_or_time_are_used_up() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        assert!(OutputRetry::forever().goes_on(u64::MAX, Duration::MAX));
        assert!(!OutputRetry::never().goes_on(1, Duration::ZERO));
        let thrice = OutputRetry::forever().give_up_after_attempts(3);
        assert!(thrice.goes_on(2, hour) && !thrice.goes_on(3, Duration::ZERO));
        let within = OutputRetry::forever().give_up_after(second);
        assert!(within.goes_on(1000, second / 2) && !within.goes_on(1, second));
        let instant = OutputRetry::forever().waits(Duration::ZERO, Duration::ZERO);
        assert_eq!(instant.wait(9, 5), Duration::ZERO);
    }
}
