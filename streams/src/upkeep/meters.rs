//! The streams of a directory as metrics, as of the last turn of what goes on beside requests.

use crate::shared::core::Core;
use highwater_wal::{Metric, MetricKind};
use metrics::{Counter, Gauge, counter, gauge};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

const OF_LOG: &[&str] = &["log"];

const fn counted(name: &'static str, help: &'static str) -> Metric {
    Metric::new(name, MetricKind::Counter, OF_LOG, help)
}

const fn measured(name: &'static str, help: &'static str) -> Metric {
    Metric::new(name, MetricKind::Gauge, OF_LOG, help)
}

/// The metrics of named streams: of all streams of a directory, whose log is the label `log`. Those
/// of the log are in [`highwater_wal::METRICS`].
pub const METRICS: &[Metric] = &[
    measured(
        "highwater_streams",
        "Streams, those among them that are deleted and that forks need.",
    ),
    measured(
        "highwater_stream_live_bytes",
        "Bytes of messages that are kept.",
    ),
    measured(
        "highwater_stream_waiting",
        "Readers that wait for a stream to change.",
    ),
    counted(
        "highwater_stream_moved_bytes_total",
        "Bytes of messages that were moved, so that the log could be freed before them.",
    ),
    counted(
        "highwater_stream_trimmed_total",
        "How often a stream gave up its oldest data.",
    ),
    counted(
        "highwater_stream_expired_total",
        "Streams whose time was over.",
    ),
    counted(
        "highwater_stream_producers_forgotten_total",
        "Producers that were forgotten because a stream had too many: their retries would count again.",
    ),
    counted(
        "highwater_stream_checkpoints_total",
        "Checkpoints of the table of streams.",
    ),
];

/// Those of one directory.
pub(crate) struct Meters {
    streams: Gauge,
    live_bytes: Gauge,
    waiting: Gauge,
    moved_bytes: Counter,
    trimmed: Counter,
    expired: Counter,
    forgotten: Counter,
    checkpoints: Counter,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl Meters {
    pub(crate) fn new(core: &Core) -> Self {
        METRICS.iter().for_each(Metric::describe);
        let log = core.wal.dir().display().to_string();
        let gauge = |name: &'static str| gauge!(name, "log" => log.clone());
        let counter = |name: &'static str| counter!(name, "log" => log.clone());
        Self {
            streams: gauge("highwater_streams"),
            live_bytes: gauge("highwater_stream_live_bytes"),
            waiting: gauge("highwater_stream_waiting"),
            moved_bytes: counter("highwater_stream_moved_bytes_total"),
            trimmed: counter("highwater_stream_trimmed_total"),
            expired: counter("highwater_stream_expired_total"),
            forgotten: counter("highwater_stream_producers_forgotten_total"),
            checkpoints: counter("highwater_stream_checkpoints_total"),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(crate) fn tell(&self, core: &Core) {
        let counters = &core.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.streams
            .set(core.streams.load(Ordering::Relaxed) as f64);
        self.live_bytes.set(read(&counters.live_bytes) as f64);
        self.waiting.set(core.waiters.count() as f64);
        self.moved_bytes.absolute(read(&counters.moved_bytes));
        self.trimmed.absolute(read(&counters.trimmed));
        self.expired.absolute(read(&counters.expired));
        self.forgotten.absolute(read(&counters.forgotten_producers));
        self.checkpoints.absolute(read(&counters.checkpoints));
    }
}
