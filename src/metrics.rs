//! What the metrics of a program say, and the buckets that an exporter should have.
//!
//! Everything goes through the [`metrics`](https://docs.rs/metrics) facade: a program installs a
//! recorder before it opens a context or a log, and that decides where the numbers go. Help texts
//! reach the recorder by themselves. Buckets do not: an exporter that is not told of any makes
//! summaries of the histograms, which cannot be added up over processes.
//!
//! ```
//! use highwater::metrics;
//! use metrics_exporter_prometheus::PrometheusBuilder;
//!
//! let exporter = PrometheusBuilder::new().set_buckets(&metrics::SECONDS_BUCKETS)?;
//! let handle = exporter.install_recorder()?;
//! // .. open the context; answer `GET /metrics` with:
//! let text = handle.render();
//! # assert!(text.is_empty());
//! assert!(metrics::all().any(|metric| metric.name == "highwater_batches_total"));
//! # Ok::<_, metrics_exporter_prometheus::BuildError>(())
//! ```
//!
//! `docs/alerts` has rules for Prometheus, with tests.

pub use crate::wal::{Metric, MetricKind, SECONDS_BUCKETS};

/// All metrics: those of contexts, of their logs, and, with the feature `http`, of HTTP servers.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    let all = crate::METRICS.iter().chain(crate::wal::METRICS);
    #[cfg(feature = "http")]
    let all = all.chain(highwater_connectors::DOOR_METRICS);
    all
}
