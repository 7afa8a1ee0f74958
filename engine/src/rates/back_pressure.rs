//! The settings of back-pressure.

use crate::rates::pid::PidWeights;

/// Whether the rates of sources follow what the batches can process, and how: for
/// [`Builder::back_pressure`](crate::Builder::back_pressure).
///
/// ```
/// use highwater_engine::{BackPressure, StreamingContext};
/// let builder = StreamingContext::builder("app.d").back_pressure(true);
/// let careful = BackPressure::pid().integral(0.4).min_rate(10.0).initial_rate(1000);
/// let builder = builder.back_pressure(careful);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackPressure {
    is_on: bool,
    pub(crate) weights: PidWeights,
    pub(crate) initial_rate: Option<u64>,
}

impl Default for BackPressure {
    /// Off.
    fn default() -> Self {
        Self::off()
    }
}

impl From<bool> for BackPressure {
    fn from(is_on: bool) -> Self {
        match is_on {
            true => Self::pid(),
            false => Self::off(),
        }
    }
}

impl BackPressure {
    /// Rates are not estimated: sources are as fast as
    /// [`max_rate`](crate::Builder::max_rate) and the bound on unprocessed bytes let them.
    #[must_use]
    pub fn off() -> Self {
        Self {
            is_on: false,
            ..Self::pid()
        }
    }

    /// After each batch a [`PidRateEstimator`](crate::PidRateEstimator) with Spark's constants
    /// estimates the next rate of each source.
    #[must_use]
    pub fn pid() -> Self {
        Self {
            is_on: true,
            weights: PidWeights::default(),
            initial_rate: None,
        }
    }

    /// How much of the present error is corrected. Default 1.0; at least 0.
    #[must_use]
    pub fn proportional(mut self, weight: f64) -> Self {
        self.weights.proportional = weight;
        self
    }

    /// How much of what has gathered is worked off per batch. Default 0.2; at least 0.
    #[must_use]
    pub fn integral(mut self, weight: f64) -> Self {
        self.weights.integral = weight;
        self
    }

    /// How much a change of the error counts. Default 0.0; at least 0.
    #[must_use]
    pub fn derived(mut self, weight: f64) -> Self {
        self.weights.derived = weight;
        self
    }

    /// The least rate of a source, in records per second. Default 100; above 0.
    #[must_use]
    pub fn min_rate(mut self, records_per_second: f64) -> Self {
        self.weights.min_rate = records_per_second;
        self
    }

    /// The rate of a source until two batches with its records are complete, in records per second.
    /// Default: only [`max_rate`](crate::Builder::max_rate) bounds it until then.
    #[must_use]
    pub fn initial_rate(mut self, records_per_second: u64) -> Self {
        self.initial_rate = Some(records_per_second);
        self
    }

    /// Whether rates are estimated.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// What cannot be meant.
    pub(crate) fn refused(&self) -> Option<String> {
        if self.initial_rate == Some(0) {
            return Some("the initial rate of back-pressure must be at least 1".to_owned());
        }
        self.weights.refused()
    }
}
