//! `highwater checkpoint lineage`: what a recovery would have to do.

use crate::args::CheckpointArgs;
use crate::checkpoint::store::Found;
use crate::log_after::LogAfter;
use highwater::checkpoint::{Manifest, Validity};
use highwater::wal::Lsn;
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::{Output, add_row, render, table};
use highwater_log::text;
use serde::Serialize;

/// A recovery from one checkpoint.
#[derive(Debug, Serialize)]
struct Row {
    checkpoint: u64,
    batch: u64,
    batch_time_ms: u64,
    /// Checkpoints whose files it names, itself included.
    chain: usize,
    files: usize,
    state_bytes: u64,
    replay_from: u64,
    /// Batches after it that were cut.
    depth: u64,
    last_batch: u64,
    bytes_to_replay: u64,
    /// As measured by the program that took it: milliseconds.
    load_ms: Option<u64>,
    estimated_recovery_ms: Option<u64>,
    /// Whether recovery would take it.
    recovery: bool,
}

/// Runs the command.
pub(crate) fn lineage(args: &CheckpointArgs, out: &mut Output) -> Result<Outcome> {
    let found = Found::read(&args.dir)?;
    let log = found.place.log().ok_or_else(|| {
        let place = args.dir.display();
        Failure::Usage(format!(
            "{place} has no log next to its checkpoints: a lineage is what the log has after them. Name the directory of an engine"
        ))
    })?;
    let taken = found.recovered_from().map(|manifest| manifest.number);
    let usable = found.checkpoints.iter().filter(|checkpoint| {
        checkpoint.validity == Validity::Valid && found.problem(checkpoint).is_none()
    });
    let manifests = usable.filter_map(|checkpoint| checkpoint.manifest.as_ref());
    let manifests: Vec<&Manifest> = manifests.filter(|m| !found.is_predecessors(m)).collect();
    let from = manifests.iter().map(|manifest| manifest.lsn).min();
    let Some(from) = from else {
        return Err(Failure::Finding(found.uncovered.clone().unwrap_or_else(
            || "there is no usable checkpoint: a recovery reads the whole log".to_owned(),
        )));
    };
    let after = LogAfter::read(&log, Lsn::new(from))?;
    let rows: Vec<Row> = manifests.iter().map(|m| row(m, &after, taken)).collect();
    out.show(args.json, &rows, |rows, out| print(rows, out))?;
    Ok(Outcome::clean_if(taken.is_some()))
}

fn row(manifest: &Manifest, after: &LogAfter, taken: Option<u64>) -> Row {
    let (depth, bytes_to_replay) = after.to_replay(manifest);
    let (load_ms, estimated_recovery_ms) = after.recovery_ms(manifest);
    Row {
        checkpoint: manifest.number,
        batch: manifest.batch.id,
        batch_time_ms: manifest.batch.time_ms,
        chain: manifest.chain.len(),
        files: manifest.files.len(),
        state_bytes: manifest.state_bytes(),
        replay_from: manifest.lsn,
        depth,
        last_batch: after.last_batch.unwrap_or(manifest.batch.id),
        bytes_to_replay,
        load_ms,
        estimated_recovery_ms,
        recovery: taken == Some(manifest.number),
    }
}

fn print(rows: &[Row], out: &mut Output) -> Result<()> {
    let mut lines = table(&[
        "#checkpoint",
        "#batch",
        "batch time (UTC)",
        "#chain",
        "#bytes",
        "#depth",
        "#last batch",
        "#log bytes",
        "#load",
        "#recovery",
        "is",
    ]);
    let time = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    for row in rows {
        add_row(
            &mut lines,
            [
                row.checkpoint.to_string(),
                row.batch.to_string(),
                text::utc(row.batch_time_ms),
                row.chain.to_string(),
                text::bytes(row.state_bytes),
                text::grouped(row.depth),
                row.last_batch.to_string(),
                text::bytes(row.bytes_to_replay),
                time(row.load_ms),
                time(row.estimated_recovery_ms),
                match row.recovery {
                    true => "recovery takes it".to_owned(),
                    false => "fallback".to_owned(),
                },
            ],
        );
    }
    out.line(render(&lines))
}
