//! Events as metrics, through the `metrics` facade: the program chooses where they go. The table of
//! names is in the README of this crate.

use crate::observe::event::{ContextEvent, ContextListener};
use metrics::{counter, gauge, histogram};

/// Counts events. Each metric has the application as label.
#[derive(Debug)]
pub(crate) struct MetricsListener {
    application: String,
}

impl MetricsListener {
    pub(crate) fn new(application: &str) -> Self {
        Self {
            application: application.to_owned(),
        }
    }
}

impl ContextListener for MetricsListener {
    fn on_event(&self, event: &ContextEvent) {
        let application = || ("application", self.application.clone());
        match event {
            ContextEvent::Started => gauge!("highwater_up", &[application()]).set(1.0),
            ContextEvent::Stopped { .. } => gauge!("highwater_up", &[application()]).set(0.0),
            ContextEvent::BatchCompleted {
                batch,
                records,
                scheduling_delay,
                took,
                ..
            } => {
                counter!("highwater_batches_total", &[application()]).increment(1);
                let bytes = batch.to.bytes_since(batch.from);
                counter!("highwater_batch_bytes_total", &[application()]).increment(bytes);
                counter!("highwater_batch_records_total", &[application()]).increment(*records);
                histogram!("highwater_batch_processing_seconds", &[application()]).record(*took);
                histogram!("highwater_batch_scheduling_delay_seconds", &[application()])
                    .record(*scheduling_delay);
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
            ContextEvent::CheckpointCompleted {
                size_bytes, took, ..
            } => {
                counter!("highwater_checkpoints_total", &[application()]).increment(1);
                counter!("highwater_checkpoint_bytes_total", &[application()])
                    .increment(*size_bytes);
                histogram!("highwater_checkpoint_seconds", &[application()]).record(*took);
            }
            ContextEvent::CheckpointFailed { .. } => {
                counter!("highwater_checkpoint_failures_total", &[application()]).increment(1);
            }
            _ => {}
        }
    }
}
