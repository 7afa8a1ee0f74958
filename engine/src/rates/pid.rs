//! The estimator of a rate that the batches keep up with: Spark's, with its constants.

use std::time::Duration;

/// What a PID estimator weighs, and the least that it answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PidWeights {
    pub(crate) proportional: f64,
    pub(crate) integral: f64,
    pub(crate) derived: f64,
    /// Records per second.
    pub(crate) min_rate: f64,
}

impl Default for PidWeights {
    fn default() -> Self {
        Self {
            proportional: 1.0,
            integral: 0.2,
            derived: 0.0,
            min_rate: 100.0,
        }
    }
}

impl PidWeights {
    /// What cannot be meant.
    pub(crate) fn refused(&self) -> Option<String> {
        let weights = [
            ("proportional", self.proportional),
            ("integral", self.integral),
            ("derived", self.derived),
        ];
        let bad = weights.iter().find(|(_, w)| !(w.is_finite() && *w >= 0.0));
        if let Some((name, weight)) = bad {
            return Some(format!(
                "the {name} weight of back-pressure must not be negative, and is {weight}"
            ));
        }
        (!(self.min_rate.is_finite() && self.min_rate > 0.0)).then(|| {
            format!(
                "the least rate of back-pressure must be above 0, and is {}",
                self.min_rate
            )
        })
    }
}

/// Estimates how many records per second the batches can process, from how long they took and how
/// long they waited. It is a PID controller with the formula of Spark's `PIDRateEstimator`:
///
/// ```text
/// processing rate = records / processing time
/// error           = rate - processing rate
/// old error       = scheduling delay * processing rate / batch interval
/// change          = (error - error before) / time since the estimate before
/// next rate       = max(least rate, rate - P * error - I * old error - D * change)
/// ```
///
/// The first batch only says what the rate is.
///
/// ```
/// use highwater_engine::PidRateEstimator;
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let mut pid = PidRateEstimator::new(ms(1000), 1.0, 0.2, 0.0, 100.0);
/// assert_eq!(pid.compute(ms(1000), 5000, ms(500), ms(0)), None);
/// // 2000 records took a second, and the batch had waited for half a second.
/// let rate = pid.compute(ms(2000), 2000, ms(1000), ms(500));
/// assert_eq!(rate, Some(1800.0)); // 10000 - 1.0 * (10000 - 2000) - 0.2 * 0.5 * 2000
/// ```
#[derive(Debug, Clone)]
pub struct PidRateEstimator {
    batch_interval: Duration,
    weights: PidWeights,
    /// The newest batch that counted: when it was complete, the rate and the error then.
    latest: Option<Latest>,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    at: Duration,
    rate: f64,
    error: f64,
}

impl PidRateEstimator {
    /// An estimator for batches of this interval. The weights are at least 0, `min_rate` (records
    /// per second) is above 0. Spark's are 1.0, 0.2, 0.0 and 100.
    #[must_use]
    pub fn new(
        batch_interval: Duration,
        proportional: f64,
        integral: f64,
        derived: f64,
        min_rate: f64,
    ) -> Self {
        let weights = PidWeights {
            proportional,
            integral,
            derived,
            min_rate,
        };
        Self::of(batch_interval, weights)
    }

    pub(crate) fn of(batch_interval: Duration, weights: PidWeights) -> Self {
        Self {
            batch_interval,
            weights,
            latest: None,
        }
    }

    /// Takes in a batch of `records` that was complete at `time`, a time of the monotonic clock,
    /// and returns the next rate in records per second. `None` for the first batch that counts, and
    /// for one that does not count: without records, without a processing time, or not later than
    /// the one before.
    pub fn compute(
        &mut self,
        time: Duration,
        records: u64,
        processing: Duration,
        scheduling_delay: Duration,
    ) -> Option<f64> {
        let is_later = self.latest.is_none_or(|latest| time > latest.at);
        if !is_later || records == 0 || processing.is_zero() {
            return None;
        }
        // In nanoseconds, which are whole: a rate of 2000 is not 1999.99.
        let processing_rate = records as f64 * 1e9 / nanos(processing);
        let Some(latest) = self.latest else {
            self.latest = Some(Latest {
                at: time,
                rate: processing_rate,
                error: 0.0,
            });
            return None;
        };
        let since = nanos(time - latest.at) / 1e9;
        let error = latest.rate - processing_rate;
        let old_error = nanos(scheduling_delay) * processing_rate / nanos(self.batch_interval);
        let change = (error - latest.error) / since;
        let weights = self.weights;
        let rate = latest.rate
            - weights.proportional * error
            - weights.integral * old_error
            - weights.derived * change;
        let rate = rate.max(weights.min_rate);
        self.latest = Some(Latest {
            at: time,
            rate,
            error,
        });
        Some(rate)
    }
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Spark's constants, batches of a second.
    fn spark() -> PidRateEstimator {
        PidRateEstimator::of(ms(1000), PidWeights::default())
    }

    #[test]
    fn the_constants_are_those_of_spark() {
        let weights = PidWeights::default();
        let all = (weights.proportional, weights.integral, weights.derived);
        assert_eq!((all, weights.min_rate), ((1.0, 0.2, 0.0), 100.0));
    }

    #[test]
    fn the_first_batch_only_sets_the_rate() {
        let mut pid = spark();
        assert_eq!(pid.compute(ms(1000), 700, ms(350), ms(9000)), None);
        assert_eq!(pid.latest.unwrap().rate, 2000.0);
        assert_eq!(pid.latest.unwrap().error, 0.0);
    }

    /// By hand: with P = 1 the next rate is the processing rate less a fifth of what has gathered.
    #[test]
    fn three_batches_by_hand() {
        let mut pid = spark();
        assert_eq!(pid.compute(ms(1000), 3000, ms(1000), ms(0)), None);
        // 1000/s; it waited 2 s: 3000 - 2000 - 0.2 * 2 * 1000.
        assert_eq!(pid.compute(ms(4000), 3000, ms(3000), ms(2000)), Some(600.0));
        // 1200/s; no wait: 600 - (600 - 1200).
        assert_eq!(pid.compute(ms(5000), 600, ms(500), ms(0)), Some(1200.0));
        // 1000/s; it waited 10 s: 1200 - 200 - 2000 is below the least rate.
        assert_eq!(pid.compute(ms(6000), 100, ms(100), ms(10_000)), Some(100.0));
    }

    /// By hand, with another interval and a weight for the change.
    #[test]
    fn every_weight_counts_by_hand() {
        let mut pid = PidRateEstimator::new(ms(500), 0.5, 0.1, 0.25, 10.0);
        assert_eq!(pid.compute(ms(0), 100, ms(100), ms(0)), None); // 1000/s
        // 800/s, error 200, old error 0.25 * 800 / 0.5 = 400, change (200 - 0) / 2 = 100:
        // 1000 - 100 - 40 - 25.
        assert_eq!(pid.compute(ms(2000), 80, ms(100), ms(250)), Some(835.0));
        // 900/s, error -65, old error 0, change (-65 - 200) / 0.5 = -530: 835 + 32.5 + 132.5.
        assert_eq!(pid.compute(ms(2500), 90, ms(100), ms(0)), Some(1000.0));
    }

    #[test]
    fn what_does_not_count_changes_nothing() {
        let mut pid = spark();
        let nothing = [(ms(10), 0, ms(5)), (ms(10), 5, ms(0))];
        for (time, records, took) in nothing {
            assert_eq!(pid.compute(time, records, took, ms(0)), None);
            assert!(pid.latest.is_none(), "not even the first rate");
        }
        assert_eq!(pid.compute(ms(10), 1000, ms(1000), ms(0)), None);
        for (time, records, took) in nothing.map(|(t, r, p)| (t * 100, r, p)) {
            assert_eq!(pid.compute(time, records, took, ms(0)), None);
        }
        for time in [10, 9, 0] {
            assert_eq!(pid.compute(ms(time), 9, ms(1), ms(0)), None, "not later");
        }
        assert_eq!(pid.compute(ms(11), 500, ms(1000), ms(0)), Some(500.0));
    }

    #[test]
    fn weights_that_cannot_be_meant_are_refused() {
        let good = PidWeights::default();
        assert_eq!(good.refused(), None);
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            let refused = |weights: PidWeights| weights.refused().unwrap();
            assert!(
                refused(PidWeights {
                    proportional: bad,
                    ..good
                })
                .contains("proportional")
            );
            assert!(
                refused(PidWeights {
                    integral: bad,
                    ..good
                })
                .contains("integral")
            );
            assert!(
                refused(PidWeights {
                    derived: bad,
                    ..good
                })
                .contains("derived")
            );
            assert!(
                refused(PidWeights {
                    min_rate: bad,
                    ..good
                })
                .contains("least rate")
            );
        }
        assert!(
            PidWeights {
                min_rate: 0.0,
                ..good
            }
            .refused()
            .is_some()
        );
    }

    /// Spark's code, word for word: milliseconds, and marks for "never".
    struct Spark {
        interval_ms: f64,
        first_run: bool,
        latest_time: f64,
        latest_rate: f64,
        latest_error: f64,
        weights: PidWeights,
    }

    impl Spark {
        fn compute(&mut self, time: f64, n: f64, processing: f64, delay: f64) -> Option<f64> {
            if time > self.latest_time && n > 0.0 && processing > 0.0 {
                let since_update = (time - self.latest_time) / 1000.0;
                let rate = n / processing * 1000.0;
                let error = self.latest_rate - rate;
                let historical = delay * rate / self.interval_ms;
                let d_error = (error - self.latest_error) / since_update;
                let new = (self.latest_rate
                    - self.weights.proportional * error
                    - self.weights.integral * historical
                    - self.weights.derived * d_error)
                    .max(self.weights.min_rate);
                self.latest_time = time;
                if self.first_run {
                    self.latest_rate = rate;
                    self.latest_error = 0.0;
                    self.first_run = false;
                    None
                } else {
                    self.latest_rate = new;
                    self.latest_error = error;
                    Some(new)
                }
            } else {
                None
            }
        }
    }

    proptest! {
        #[test]
        fn it_answers_what_sparks_code_answers(
            weights in (0.0..2.0_f64, 0.0..2.0_f64, 0.0..2.0_f64, 0.1..1000.0_f64),
            interval in 1_u64..10_000,
            batches in prop::collection::vec(
                (0_u64..100_000, 0_u64..20_000, 0_u64..20_000, 0_u64..20_000), 1..50),
        ) {
            let (proportional, integral, derived, min_rate) = weights;
            let weights = PidWeights { proportional, integral, derived, min_rate };
            let mut pid = PidRateEstimator::of(ms(interval), weights);
            let mut spark = Spark {
                interval_ms: interval as f64,
                first_run: true,
                latest_time: -1.0,
                latest_rate: -1.0,
                latest_error: -1.0,
                weights,
            };
            for (time, records, took, delay) in batches {
                let ours = pid.compute(ms(time), records, ms(took), ms(delay));
                let theirs =
                    spark.compute(time as f64, records as f64, took as f64, delay as f64);
                prop_assert_eq!(ours.is_some(), theirs.is_some());
                if let (Some(ours), Some(theirs)) = (ours, theirs) {
                    let near = (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0);
                    prop_assert!(near, "{} {}", ours, theirs);
                }
            }
        }
    }
}
