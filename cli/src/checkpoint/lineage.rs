//! `highwater checkpoint lineage`: what a recovery would have to do.

use crate::args::CheckpointArgs;
use crate::checkpoint::store::Found;
use crate::engine_records;
use highwater::checkpoint::{Manifest, Validity};
use highwater::wal::inspect::Log;
use highwater::wal::{FrameKind, Lsn, StreamId};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::{Output, add_row, render, table};
use highwater_log::text;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

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

/// What the log has after a position.
struct LogAfter {
    last_batch: Option<u64>,
    end: u64,
}

impl LogAfter {
    fn read(log: &Log, from: Lsn) -> Result<Self> {
        let frames = log.frames(from)?;
        let end = frames.log_end().get();
        let mut last_batch = None;
        for frame in frames {
            let frame = frame?;
            if frame.kind == FrameKind::Control && frame.stream == StreamId(0) {
                let entry = engine_records::control(&frame.payload);
                let batch = entry
                    .as_ref()
                    .and_then(|entry| entry.get("Cut")?.get("batch"));
                last_batch = batch.and_then(Value::as_u64).or(last_batch);
            }
        }
        Ok(Self { last_batch, end })
    }
}

fn row(manifest: &Manifest, after: &LogAfter, taken: Option<u64>) -> Row {
    let last_batch = after.last_batch.unwrap_or(manifest.batch.id);
    let depth = last_batch.saturating_sub(manifest.batch.id);
    let bytes_to_replay = after.end.saturating_sub(manifest.lsn);
    let cost = |name: &str| manifest.metadata.get("costs")?.get(name)?.as_u64();
    let replay = cost("batch_us")
        .zip(cost("byte_ps"))
        .map(|(batch_us, byte_ps)| {
            let batches = Duration::from_micros(batch_us.saturating_mul(depth));
            let bytes = byte_ps.saturating_mul(bytes_to_replay) / 1_000;
            batches + Duration::from_nanos(bytes)
        });
    let load_ms = cost("load_ms");
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Row {
        checkpoint: manifest.number,
        batch: manifest.batch.id,
        batch_time_ms: manifest.batch.time_ms,
        chain: manifest.chain.len(),
        files: manifest.files.len(),
        state_bytes: manifest.state_bytes(),
        replay_from: manifest.lsn,
        depth,
        last_batch,
        bytes_to_replay,
        load_ms,
        estimated_recovery_ms: load_ms
            .zip(replay)
            .map(|(load, replay)| load.saturating_add(ms(replay))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// By hand: 5 batches of 2 ms, 3,000 bytes of 1 µs, and 40 ms to load.
    #[test]
    fn the_time_is_what_a_calculation_by_hand_gives() {
        let manifest = |costs: Value| -> Manifest {
            serde_json::from_value(json!({
                "format_version": 2, "number": 3, "previous": 2, "writer": "0000000000000001",
                "generation": 1, "attempt": "0000000000000001",
                "log_id": "00000000000000000000000000000001", "application": "a",
                "created_ms": 1, "batch": {"id": 10, "time_ms": 1}, "lsn": 1000, "chain": [3],
                "metadata": {"costs": costs}, "files": [], "next_state_id": 0, "states": [],
            }))
            .unwrap()
        };
        let after = LogAfter {
            last_batch: Some(15),
            end: 4000,
        };
        let costs = json!({"load_ms": 40, "batch_us": 2000, "byte_ps": 1_000_000});
        let found = row(&manifest(costs), &after, Some(3));
        assert_eq!((found.depth, found.bytes_to_replay), (5, 3000));
        assert_eq!(found.estimated_recovery_ms, Some(40 + 10 + 3));
        let unknown = row(&manifest(Value::Null), &after, None);
        assert_eq!(
            (unknown.load_ms, unknown.estimated_recovery_ms),
            (None, None)
        );
    }
}
