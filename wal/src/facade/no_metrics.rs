//! The parts of `metrics` that the log uses, in a build without it. `Wal::stats` has the numbers.

macro_rules! counter {
    ($name:literal, "log" => $log:expr) => {
        $crate::facade::metrics::Counter::of($log)
    };
}
macro_rules! gauge {
    ($name:literal, "log" => $log:expr) => {
        $crate::facade::metrics::Gauge::of($log)
    };
}
macro_rules! histogram {
    ($name:literal, "log" => $log:expr) => {
        $crate::facade::metrics::Histogram::of($log)
    };
}

macro_rules! describe {
    ($name:expr, $help:expr) => {{
        let _: (&str, &str) = ($name, $help);
    }};
}

pub(crate) use {counter, gauge, histogram};
pub(crate) use {
    describe as describe_counter, describe as describe_gauge, describe as describe_histogram,
};

/// A number that only grows.
pub(crate) struct Counter;

impl Counter {
    pub(crate) fn of(_log: String) -> Self {
        Self
    }
    pub(crate) fn increment(&self, _by: u64) {}
    pub(crate) fn absolute(&self, _value: u64) {}
}

/// A number that goes up and down.
pub(crate) struct Gauge;

impl Gauge {
    pub(crate) fn of(_log: String) -> Self {
        Self
    }
    pub(crate) fn set(&self, _value: f64) {}
}

/// The distribution of a number.
pub(crate) struct Histogram;

impl Histogram {
    pub(crate) fn of(_log: String) -> Self {
        Self
    }
    pub(crate) fn record(&self, _value: f64) {}
}
