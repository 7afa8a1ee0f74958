//! The log's metrics, through the [`metrics`] facade: nothing is recorded unless the program
//! installs a recorder, which it has to do before it opens the log.

use crate::facade::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use crate::facade::tracing;
use crate::metrics::catalog::{METRICS, Metric};
use crate::metrics::stats::Stats;
use std::path::Path;
use std::time::Duration;

/// A sync that takes longer is worth a warning.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// Handles of the metrics of one log, each with the label `log`: its directory.
pub(crate) struct Meters {
    records: Counter,
    groups: Counter,
    bytes_appended: Counter,
    bytes_truncated: Counter,
    sync: Histogram,
    prepare: Histogram,
    recycle: Histogram,
    end_lsn: Gauge,
    durable_lsn: Gauge,
    disk_bytes: Gauge,
    budget_used: Gauge,
    segments: Gauge,
    read_failures: Counter,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl Meters {
    pub(crate) fn new(dir: &Path) -> Self {
        let log = dir.display().to_string();
        METRICS.iter().for_each(Metric::describe);
        Self {
            records: counter!("highwater_wal_records_total", "log" => log.clone()),
            groups: counter!("highwater_wal_groups_total", "log" => log.clone()),
            bytes_appended: counter!("highwater_wal_appended_bytes_total", "log" => log.clone()),
            bytes_truncated: counter!("highwater_wal_truncated_bytes_total", "log" => log.clone()),
            sync: histogram!("highwater_wal_sync_seconds", "log" => log.clone()),
            prepare: histogram!("highwater_wal_prepare_seconds", "log" => log.clone()),
            recycle: histogram!("highwater_wal_recycle_seconds", "log" => log.clone()),
            end_lsn: gauge!("highwater_wal_end_lsn", "log" => log.clone()),
            durable_lsn: gauge!("highwater_wal_durable_lsn", "log" => log.clone()),
            disk_bytes: gauge!("highwater_wal_disk_bytes", "log" => log.clone()),
            budget_used: gauge!("highwater_wal_budget_used_ratio", "log" => log.clone()),
            segments: gauge!("highwater_wal_segments", "log" => log.clone()),
            read_failures: counter!("highwater_wal_read_failures_total", "log" => log),
        }
    }

    /// A group became durable. Its syncs took this long.
    pub(crate) fn group(&self, took: Duration, dir: &Path) {
        self.sync.record(took.as_secs_f64());
        if took >= SLOW_SYNC {
            tracing::warn!(dir = %dir.display(), took_ms = took.as_millis(), "a sync of the log was slow");
        }
    }

    /// A reader found damage, or a file that cannot be read.
    pub(crate) fn read_failed(&self) {
        self.read_failures.increment(1);
    }

    pub(crate) fn prepared(&self, took: Duration) {
        self.prepare.record(took.as_secs_f64());
    }

    pub(crate) fn recycled(&self, took: Duration) {
        self.recycle.record(took.as_secs_f64());
    }

    /// Publishes a snapshot: at each rotation and whenever a caller asks for the statistics.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point")]
    pub(crate) fn publish(&self, stats: &Stats) {
        self.records.absolute(stats.records);
        self.groups.absolute(stats.groups);
        self.bytes_appended.absolute(stats.bytes_appended);
        self.bytes_truncated.absolute(stats.bytes_truncated);
        self.end_lsn.set(stats.end_lsn.get() as f64);
        self.durable_lsn.set(stats.durable_lsn.get() as f64);
        self.disk_bytes.set(stats.disk_bytes as f64);
        self.segments.set(stats.segments as f64);
        if let Some(max) = stats.max_bytes {
            self.budget_used.set(stats.disk_bytes as f64 / max as f64);
        }
    }
}
