//! How fast one source may be: what the program says, and what the batches can process.

use crate::rates::back_pressure::BackPressure;
use crate::rates::pid::PidRateEstimator;
use std::time::Duration;

/// How fast one source may be.
#[derive(Debug, Clone)]
pub(crate) struct SourceRate {
    max_rate: Option<u64>,
    estimator: Option<PidRateEstimator>,
    estimated: Option<u64>,
}

/// How fast a source may be at the moment, in records per second: see
/// [`ContextObserver::rates`](crate::ContextObserver::rates).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateStatus {
    /// Name of the source.
    pub source: String,
    /// What the program allows, if it sets a bound.
    pub max_rate: Option<u64>,
    /// What back-pressure estimates, if it is on and has estimated something.
    pub estimated: Option<u64>,
    /// What holds: the lower one.
    pub limit: Option<u64>,
}

/// A complete batch, as one source sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchOfSource {
    /// When it was complete.
    pub(crate) at: Duration,
    /// The source's records in it.
    pub(crate) records: u64,
    /// How long it ran.
    pub(crate) took: Duration,
    /// How long it had waited for its turn.
    pub(crate) waited: Duration,
}

impl SourceRate {
    /// `None` if nothing bounds the rate, and nothing will.
    pub(crate) fn new(
        max_rate: Option<u64>,
        back_pressure: &BackPressure,
        batch_interval: Duration,
    ) -> Option<Self> {
        let is_on = back_pressure.is_on();
        (is_on || max_rate.is_some()).then(|| Self {
            max_rate,
            estimator: is_on.then(|| PidRateEstimator::of(batch_interval, back_pressure.weights)),
            estimated: back_pressure.initial_rate.filter(|_| is_on),
        })
    }

    /// Records per second that the source may have at the moment.
    pub(crate) fn limit(&self) -> Option<u64> {
        [self.max_rate, self.estimated].into_iter().flatten().min()
    }

    /// How many records the source may have in a batch of this interval, at least one: for what
    /// decides that before the batch is cut.
    pub(crate) fn records_allowed(&self, interval: Duration) -> Option<u64> {
        let limit = u128::from(self.limit()?);
        let records = limit.saturating_mul(interval.as_millis()) / 1000;
        Some(u64::try_from(records).unwrap_or(u64::MAX).max(1))
    }

    /// Takes in a complete batch; the new limit, if it has changed.
    pub(crate) fn completed(&mut self, batch: BatchOfSource) -> Option<u64> {
        let before = self.limit();
        let estimator = self.estimator.as_mut()?;
        let rate = estimator.compute(batch.at, batch.records, batch.took, batch.waited)?;
        self.estimated = Some(whole(rate));
        self.limit().filter(|limit| Some(*limit) != before)
    }

    pub(crate) fn status(&self, source: &str) -> RateStatus {
        RateStatus {
            source: source.to_owned(),
            max_rate: self.max_rate,
            estimated: self.estimated,
            limit: self.limit(),
        }
    }
}

/// Whole records per second, at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded down; beyond the range it is the end of the range"
)]
fn whole(rate: f64) -> u64 {
    (rate as u64).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn batch(at: u64, records: u64, took_ms: u64) -> BatchOfSource {
        BatchOfSource {
            at: SECOND * u32::try_from(at).unwrap(),
            records,
            took: Duration::from_millis(took_ms),
            waited: Duration::ZERO,
        }
    }

    #[test]
    fn the_lower_of_bound_and_estimate_holds() {
        let pid = BackPressure::pid();
        let mut rate = SourceRate::new(Some(1500), &pid, SECOND).unwrap();
        assert_eq!(rate.limit(), Some(1500));
        assert_eq!(rate.completed(batch(1, 1000, 1000)), None, "the first");
        assert_eq!(rate.completed(batch(2, 500, 1000)), Some(500));
        assert_eq!(rate.completed(batch(3, 500, 1000)), None, "no change");
        assert_eq!(rate.completed(batch(4, 2000, 1000)), Some(1500));
        let status = rate.status("s");
        assert_eq!(
            (status.max_rate, status.estimated),
            (Some(1500), Some(2000))
        );
        assert_eq!((status.limit, &*status.source), (Some(1500), "s"));
    }

    #[test]
    fn without_a_bound_only_the_initial_rate_holds_until_there_is_an_estimate() {
        let mut rate = SourceRate::new(None, &BackPressure::pid(), SECOND).unwrap();
        assert_eq!((rate.limit(), rate.records_allowed(SECOND)), (None, None));
        assert_eq!(rate.completed(batch(1, 1000, 1000)), None);
        assert_eq!(rate.limit(), None);
        assert_eq!(rate.completed(batch(2, 1000, 1000)), Some(1000));
        let pid = BackPressure::pid().initial_rate(70);
        assert_eq!(
            SourceRate::new(None, &pid, SECOND).unwrap().limit(),
            Some(70)
        );
    }

    #[test]
    fn without_bound_and_back_pressure_there_is_no_rate() {
        let off = BackPressure::from(false).initial_rate(70);
        assert!(SourceRate::new(None, &off, SECOND).is_none());
        assert_eq!(
            SourceRate::new(Some(3), &off, SECOND).unwrap().limit(),
            Some(3)
        );
    }

    #[test]
    fn a_batch_may_have_what_the_rate_gives_in_its_interval() {
        let rate = SourceRate::new(Some(1500), &BackPressure::off(), SECOND).unwrap();
        for (ms, records) in [(1000, 1500), (100, 150), (1, 1), (0, 1), (60_000, 90_000)] {
            let allowed = rate.records_allowed(Duration::from_millis(ms));
            assert_eq!(allowed, Some(records), "{ms}");
        }
        let fast = SourceRate::new(Some(u64::MAX), &BackPressure::off(), SECOND).unwrap();
        assert_eq!(fast.records_allowed(Duration::MAX), Some(u64::MAX));
    }
}
