//! Events as metrics, through the `metrics` facade: the program chooses where they go. The table of
//! names is in the README of this crate.

use crate::observe::event::{ContextEvent, ContextListener};
use crate::observe::exported::metric_list::METRICS;
use crate::observe::recovering::lineage::{Lineage, LineageReader};
use highwater_wal::Metric;
use highwater_wal::disk::Clock;
use metrics::{counter, gauge, histogram};
use std::sync::Arc;

/// Counts events. Each metric has the application as label.
#[derive(Debug)]
pub(crate) struct MetricsListener {
    application: String,
    lineage: Arc<LineageReader>,
    clock: Arc<dyn Clock>,
}

impl MetricsListener {
    pub(crate) fn new(
        application: &str,
        lineage: Arc<LineageReader>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        METRICS.iter().for_each(Metric::describe);
        Self {
            application: application.to_owned(),
            lineage,
            clock,
        }
    }

    /// What a crash would cost now.
    fn tell(&self, lineage: &Lineage) {
        let application = || ("application", self.application.clone());
        gauge!("highwater_lineage_batches", &[application()]).set(lineage.depth as f64);
        gauge!("highwater_lineage_bytes", &[application()]).set(lineage.bytes_to_replay as f64);
        if let Some(time_ms) = lineage.checkpoint_time_ms {
            let age_ms = self.clock.wall_ms().saturating_sub(time_ms);
            gauge!("highwater_checkpoint_age_seconds", &[application()]).set(age_ms as f64 / 1e3);
        }
        if let Some(recovery) = lineage.estimated_recovery {
            let seconds = recovery.as_secs_f64();
            gauge!("highwater_estimated_recovery_seconds", &[application()]).set(seconds);
        }
    }

    /// What the newest checkpoint needs.
    fn tell_of_checkpoint(&self, event: &ContextEvent) {
        let application = || ("application", self.application.clone());
        if let ContextEvent::CheckpointCompleted {
            size_bytes,
            total_bytes,
            total_files,
            memory_bytes,
            took,
            ..
        } = event
        {
            counter!("highwater_checkpoints_total", &[application()]).increment(1);
            counter!("highwater_checkpoint_bytes_total", &[application()]).increment(*size_bytes);
            histogram!("highwater_checkpoint_seconds", &[application()]).record(*took);
            gauge!("highwater_checkpoint_stored_bytes", &[application()]).set(*total_bytes as f64);
            gauge!("highwater_checkpoint_files", &[application()]).set(*total_files as f64);
            gauge!("highwater_checkpoint_memory_bytes", &[application()]).set(*memory_bytes as f64);
            let lineage = self.lineage.now();
            gauge!("highwater_checkpoint_load_seconds", &[application()])
                .set(lineage.load_time.as_secs_f64());
            self.tell(&lineage);
        }
    }
}

impl ContextListener for MetricsListener {
    fn on_event(&self, event: &ContextEvent) {
        let application = || ("application", self.application.clone());
        match event {
            ContextEvent::Started => {
                gauge!("highwater_up", &[application()]).set(1.0);
                let version = ("version", env!("CARGO_PKG_VERSION").to_owned());
                gauge!("highwater_build_info", &[application(), version]).set(1.0);
                self.tell(&self.lineage.now());
            }
            ContextEvent::Stopped { .. } => gauge!("highwater_up", &[application()]).set(0.0),
            ContextEvent::BatchCompleted {
                batch,
                records,
                scheduling_delay,
                took,
                steps,
                ..
            } => {
                counter!("highwater_batches_total", &[application()]).increment(1);
                let bytes = batch.to.bytes_since(batch.from);
                counter!("highwater_batch_bytes_total", &[application()]).increment(bytes);
                counter!("highwater_batch_records_total", &[application()]).increment(*records);
                histogram!("highwater_batch_processing_seconds", &[application()]).record(*took);
                histogram!("highwater_batch_scheduling_delay_seconds", &[application()])
                    .record(*scheduling_delay);
                for (step, took) in steps.all() {
                    let labels = [application(), ("step", step.to_owned())];
                    histogram!("highwater_batch_step_seconds", &labels).record(took);
                }
                self.tell(&self.lineage.after(Some(*batch)));
            }
            ContextEvent::RecordsRefused {
                operator,
                skipped,
                dead_letters,
                ..
            } => {
                let labels = [application(), ("operator", operator.clone())];
                counter!("highwater_records_skipped_total", &labels).increment(*skipped);
                counter!("highwater_dead_letters_total", &labels).increment(*dead_letters);
            }
            ContextEvent::RateChanged {
                source,
                records_per_second,
            } => {
                let labels = [application(), ("source", source.clone())];
                gauge!("highwater_source_rate_limit", &labels).set(*records_per_second as f64);
            }
            ContextEvent::AttemptFailed(_) | ContextEvent::BatchFailed { .. } => {
                counter!("highwater_batch_failures_total", &[application()]).increment(1);
            }
            ContextEvent::ReceiverFailed { source, .. } => {
                let labels = [application(), ("source", source.clone())];
                counter!("highwater_receiver_failures_total", &labels).increment(1);
            }
            ContextEvent::OutputCompleted { output, took, .. } => {
                let labels = [application(), ("output", output.clone())];
                histogram!("highwater_output_seconds", &labels).record(*took);
            }
            ContextEvent::OutputDelayed { output, .. } => {
                let labels = [application(), ("output", output.clone())];
                counter!("highwater_output_failures_total", &labels).increment(1);
            }
            ContextEvent::CheckpointCompleted { .. } => self.tell_of_checkpoint(event),
            ContextEvent::CheckpointFailed { .. } => {
                counter!("highwater_checkpoint_failures_total", &[application()]).increment(1);
            }
            _ => {}
        }
    }
}
