//! What each metric is: for recorders, documents and alerts.

use crate::facade::metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric is, as recorders are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name. Units are seconds and bytes, and stand at its end.
    pub name: &'static str,
    /// How it is recorded.
    pub kind: MetricKind,
    /// Its labels. None has values that come from data.
    pub labels: &'static [&'static str],
    /// One sentence: what it says.
    pub help: &'static str,
}

/// How a metric is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number that only grows, from 0 at the start of the process.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Times: set [`SECONDS_BUCKETS`] in the exporter.
    Histogram,
}

impl Metric {
    /// One of a program's own lists.
    ///
    /// ```
    /// use highwater_wal::{Metric, MetricKind};
    ///
    /// const ORDERS: Metric =
    ///     Metric::new("orders_total", MetricKind::Counter, &["shop"], "Orders that were taken.");
    /// assert_eq!(ORDERS.labels, ["shop"]);
    /// ```
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: MetricKind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            labels,
            help,
        }
    }

    /// Tells the recorder of the process what the metric says. Each log and each context does so
    /// with its own when it is opened.
    ///
    /// ```
    /// // A recorder that was installed late is told again:
    /// highwater_wal::METRICS.iter().for_each(|metric| metric.describe());
    /// ```
    pub fn describe(&self) {
        let Self { name, help, .. } = *self;
        match self.kind {
            MetricKind::Counter => describe_counter!(name, help),
            MetricKind::Gauge => describe_gauge!(name, help),
            MetricKind::Histogram => describe_histogram!(name, help),
        }
    }
}

/// Upper bounds of buckets for all histograms, in seconds: 50 us to 10 s. An exporter that has no
/// buckets makes summaries, which cannot be added up over processes.
pub const SECONDS_BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

const LOG: &[&str] = &["log"];

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric::new(name, MetricKind::Counter, LOG, help)
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric::new(name, MetricKind::Gauge, LOG, help)
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric::new(name, MetricKind::Histogram, LOG, help)
}

/// The metrics of a log. The label `log` is its directory.
pub const METRICS: &[Metric] = &[
    counter(
        "highwater_wal_records_total",
        "Records that were appended, as of the last rotation or call of stats.",
    ),
    counter(
        "highwater_wal_groups_total",
        "Commit groups: each is one flush of the device.",
    ),
    counter(
        "highwater_wal_appended_bytes_total",
        "Bytes that were appended, with headers and padding.",
    ),
    counter(
        "highwater_wal_truncated_bytes_total",
        "Bytes of the log that were given up by truncation.",
    ),
    histogram(
        "highwater_wal_sync_seconds",
        "Flushes of commit groups, as they happen.",
    ),
    histogram(
        "highwater_wal_prepare_seconds",
        "Preparing a new segment beside the appends.",
    ),
    histogram(
        "highwater_wal_recycle_seconds",
        "Preparing a segment that was used before.",
    ),
    gauge(
        "highwater_wal_end_lsn",
        "The position of the next record, in bytes.",
    ),
    gauge(
        "highwater_wal_durable_lsn",
        "Everything below this position is on the device, in bytes.",
    ),
    gauge(
        "highwater_wal_disk_bytes",
        "Space of the segments on the disk.",
    ),
    gauge(
        "highwater_wal_budget_used_ratio",
        "Space of the segments as a part of max_bytes, if that is set: at 1 appends wait or fail.",
    ),
    gauge("highwater_wal_segments", "Segments of the log."),
    counter(
        "highwater_wal_read_failures_total",
        "Reads that met damage or a file that cannot be read: alert on it.",
    ),
];
