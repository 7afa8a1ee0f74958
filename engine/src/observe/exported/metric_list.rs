//! What each metric of a context says.

use highwater_wal::{Metric, MetricKind};

const OF_CONTEXT: &[&str] = &["application"];
const OF_OUTPUT: &[&str] = &["application", "output"];
const OF_OPERATOR: &[&str] = &["application", "operator"];
const OF_SOURCE: &[&str] = &["application", "source"];
const OF_STATE: &[&str] = &["application", "state"];

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric::new(name, MetricKind::Counter, labels, help)
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric::new(name, MetricKind::Gauge, labels, help)
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric::new(name, MetricKind::Histogram, labels, help)
}

/// The metrics of a context. Those of its log are in [`highwater_wal::METRICS`].
///
/// Labels are names that the program has given: the application, sources, outputs, operators,
/// states. None comes from data.
pub const METRICS: &[Metric] = &[
    gauge(
        "highwater_up",
        OF_CONTEXT,
        "1 while batches run, 0 after the stop.",
    ),
    gauge(
        "highwater_build_info",
        &["application", "version"],
        "1, with the version of the engine as label.",
    ),
    counter("highwater_batches_total", OF_CONTEXT, "Completed batches."),
    counter(
        "highwater_batch_bytes_total",
        OF_CONTEXT,
        "Log bytes of completed batches.",
    ),
    counter(
        "highwater_batch_records_total",
        OF_CONTEXT,
        "Records that the sources of completed batches had.",
    ),
    histogram(
        "highwater_batch_processing_seconds",
        OF_CONTEXT,
        "From the turn of a batch to its commit, outputs included.",
    ),
    histogram(
        "highwater_batch_scheduling_delay_seconds",
        OF_CONTEXT,
        "From the cut of a batch to its turn: it grows where batches do not keep up.",
    ),
    histogram(
        "highwater_batch_step_seconds",
        &["application", "step"],
        "What a step of a batch took: run, stage, commit, publish, checkpoint.",
    ),
    counter(
        "highwater_batch_failures_total",
        OF_CONTEXT,
        "Attempts at batches that failed.",
    ),
    histogram(
        "highwater_output_seconds",
        OF_OUTPUT,
        "Staging and publishing a batch, waits included.",
    ),
    counter(
        "highwater_output_failures_total",
        OF_OUTPUT,
        "Calls of a sink that failed and are repeated.",
    ),
    counter(
        "highwater_records_skipped_total",
        OF_OPERATOR,
        "Records that an operator has refused and left out.",
    ),
    counter(
        "highwater_dead_letters_total",
        OF_OPERATOR,
        "Records that an operator has refused and put aside.",
    ),
    counter(
        "highwater_source_records_total",
        OF_SOURCE,
        "Records that a source has appended to the log since the start.",
    ),
    counter(
        "highwater_source_duplicates_total",
        OF_SOURCE,
        "Records that were recognised as retries and not appended again.",
    ),
    counter(
        "highwater_source_skipped_total",
        OF_SOURCE,
        "Records that a source has refused or skipped.",
    ),
    counter(
        "highwater_source_producers_forgotten_total",
        OF_SOURCE,
        "Producers and keys that were forgotten because there were too many: their retries would count again.",
    ),
    gauge(
        "highwater_source_lag_records",
        OF_SOURCE,
        "Records in the log, or in cuts, that no completed batch has, as of the last cut or batch.",
    ),
    gauge(
        "highwater_source_lag_bytes",
        OF_SOURCE,
        "Bytes of records in the log that no completed batch has, as of the last cut or batch.",
    ),
    gauge(
        "highwater_source_lag_seconds",
        OF_SOURCE,
        "The age of the oldest record in the log that no completed batch has, as of the last cut or batch.",
    ),
    gauge(
        "highwater_source_rate_limit",
        OF_SOURCE,
        "Records per second that back-pressure lets a source have.",
    ),
    counter(
        "highwater_receiver_failures_total",
        OF_SOURCE,
        "Receivers that failed and are started again.",
    ),
    gauge(
        "highwater_state_keys",
        OF_STATE,
        "Keys of a state, as of the last batch.",
    ),
    counter(
        "highwater_checkpoints_total",
        OF_CONTEXT,
        "Checkpoints that were published.",
    ),
    counter(
        "highwater_checkpoint_bytes_total",
        OF_CONTEXT,
        "Bytes of the files of published checkpoints.",
    ),
    histogram(
        "highwater_checkpoint_seconds",
        OF_CONTEXT,
        "Writing and publishing a checkpoint.",
    ),
    counter(
        "highwater_checkpoint_failures_total",
        OF_CONTEXT,
        "Checkpoints that could not be taken.",
    ),
    gauge(
        "highwater_checkpoint_stored_bytes",
        OF_CONTEXT,
        "All files that the newest checkpoint needs, its manifest included.",
    ),
    gauge(
        "highwater_checkpoint_files",
        OF_CONTEXT,
        "How many files the newest checkpoint needs.",
    ),
    gauge(
        "highwater_checkpoint_memory_bytes",
        OF_CONTEXT,
        "What copies of states took in memory at most for the newest checkpoint.",
    ),
    gauge(
        "highwater_checkpoint_load_seconds",
        OF_CONTEXT,
        "How long it would take to load the newest checkpoint, as far as that was seen.",
    ),
    gauge(
        "highwater_checkpoint_age_seconds",
        OF_CONTEXT,
        "From the time of the last batch in the newest checkpoint to now, as of the last batch or checkpoint.",
    ),
    gauge(
        "highwater_lineage_batches",
        OF_CONTEXT,
        "Batches that a crash would have to replay.",
    ),
    gauge(
        "highwater_lineage_bytes",
        OF_CONTEXT,
        "Log bytes that a crash would have to replay, those not yet in a batch included.",
    ),
    gauge(
        "highwater_estimated_recovery_seconds",
        OF_CONTEXT,
        "How long a recovery would take.",
    ),
];
