//! Sources and states as metrics, as of each batch.

use crate::ingest::source_context::{SourceContext, SourceStats};
use crate::observe::event::{ContextEvent, ContextListener};
use crate::observe::states::StateCounts;
use highwater_wal::disk::Clock;
use metrics::{Counter, Gauge, counter, gauge};
use std::fmt;
use std::sync::Arc;

/// Tells the numbers of sources and states when a batch is complete.
pub(super) struct Meters {
    sources: Vec<(SourceContext, SourceMeters)>,
    /// By number.
    states: Vec<(usize, Gauge)>,
    counts: Arc<StateCounts>,
    clock: Arc<dyn Clock>,
}

struct SourceMeters {
    records: Counter,
    duplicates: Counter,
    skipped: Counter,
    forgotten: Counter,
    lag_records: Gauge,
    lag_bytes: Gauge,
    lag_seconds: Gauge,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl Meters {
    /// `states` are the names of the states that have keys, by number.
    pub(super) fn new<'a>(
        application: &str,
        sources: &[SourceContext],
        states: impl Iterator<Item = (usize, &'a str)>,
        counts: &Arc<StateCounts>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let source = |source: &SourceContext| {
            let labels = [
                ("application", application.to_owned()),
                ("source", source.name().to_owned()),
            ];
            let meters = SourceMeters {
                records: counter!("highwater_source_records_total", &labels),
                duplicates: counter!("highwater_source_duplicates_total", &labels),
                skipped: counter!("highwater_source_skipped_total", &labels),
                forgotten: counter!("highwater_source_producers_forgotten_total", &labels),
                lag_records: gauge!("highwater_source_lag_records", &labels),
                lag_bytes: gauge!("highwater_source_lag_bytes", &labels),
                lag_seconds: gauge!("highwater_source_lag_seconds", &labels),
            };
            (source.clone(), meters)
        };
        let state = |(number, name): (usize, &str)| {
            let labels = [
                ("application", application.to_owned()),
                ("state", name.to_owned()),
            ];
            (number, gauge!("highwater_state_keys", &labels))
        };
        Self {
            sources: sources.iter().map(source).collect(),
            states: states.map(state).collect(),
            counts: Arc::clone(counts),
            clock,
        }
    }

    /// Told also while batches wait: then nothing is more wanted.
    fn tell_lags(&self) {
        let now_ms = self.clock.wall_ms();
        for (source, meters) in &self.sources {
            let lag = source.lag();
            let age_ms = lag
                .oldest_received_ms
                .map_or(0, |at| now_ms.saturating_sub(at));
            meters.lag_records.set(lag.records as f64);
            meters.lag_bytes.set(lag.bytes as f64);
            meters.lag_seconds.set(age_ms as f64 / 1e3);
        }
    }

    fn tell(&self) {
        self.tell_lags();
        for (source, meters) in &self.sources {
            let SourceStats {
                stored,
                duplicates,
                skipped,
                forgotten,
                ..
            } = source.stats();
            meters.records.absolute(stored);
            meters.duplicates.absolute(duplicates);
            meters.skipped.absolute(skipped);
            meters.forgotten.absolute(forgotten);
        }
        for (state, keys) in &self.states {
            keys.set(self.counts.of(*state).keys as f64);
        }
    }
}

impl ContextListener for Meters {
    fn on_event(&self, event: &ContextEvent) {
        match event {
            ContextEvent::Started
            | ContextEvent::BatchCompleted { .. }
            | ContextEvent::Stopped { .. } => self.tell(),
            ContextEvent::BatchSubmitted { .. }
            | ContextEvent::AttemptFailed(_)
            | ContextEvent::OutputDelayed { .. } => self.tell_lags(),
            _ => {}
        }
    }
}
