//! What is shown of a directory.

use crate::ui::look::Look;
use highwater::OperatorInfo;
use highwater::checkpoint::{Inspected, Manifest};
use highwater::wal::Lsn;
use highwater::wal::inspect::{SegmentInfo, SegmentState};
use highwater_log::outcome::Result;
use highwater_ui::{
    Batches, Checkpoint, Checkpoints, DeadLetters, ErrorRow, Graph, Hold, Lineage, Log, Operator,
    Phase, Refused, Segment, Snapshot, SourceRow, Sources, State, Status,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything of one look.
pub(super) fn snapshot(look: &Look) -> Result<Snapshot> {
    let newest = look.found.recovered_from();
    let segments = look.log.segments()?;
    let lineage = lineage(look, newest);
    Ok(Snapshot {
        status: status(look, newest, &lineage),
        sources: sources(look, newest),
        batches: Batches {
            interval_ms: newest.and_then(|it| it.metadata.get("batch_interval_ms")?.as_f64()),
            batches: Vec::new(),
        },
        checkpoints: checkpoints(look, newest),
        log: log(look, &segments)?,
        receivers: Vec::new(),
        dead_letters: DeadLetters {
            open: look.letters.values().sum(),
            operators: (look.letters.iter())
                .map(|(operator, count)| Refused {
                    operator: operator.clone(),
                    skipped: 0,
                    dead_letters: *count,
                })
                .collect(),
        },
        graph: newest.map_or_else(no_graph, graph),
        errors: errors(look, &segments),
        config: newest.map(settings).unwrap_or_default(),
        lineage,
    })
}

fn status(look: &Look, newest: Option<&Manifest>, lineage: &Lineage) -> Status {
    let begins = match newest {
        Some(manifest) => format!(
            "A start would begin with checkpoint {} and replay {} batches",
            manifest.number, lineage.batches
        ),
        None => match &look.found.uncovered {
            Some(why) => why.clone(),
            None => "There is no checkpoint: a start would read the whole log".to_owned(),
        },
    };
    let damage = match &look.after {
        Ok(_) => String::new(),
        Err(why) => format!(" The log cannot be read to its end: {why}."),
    };
    Status {
        application: newest.map_or_else(|| "no checkpoint".to_owned(), |it| it.application.clone()),
        dir: look.dir.display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at_ms: look.at_ms,
        phase: Phase::AtRest,
        sentence: format!(
            "A directory is shown, whether a program uses it or not. {}.{damage}",
            begins.trim_end_matches('.')
        ),
        recovery: None,
        failure: None,
        last_batch: last_batch(look, newest),
        batches: 0,
        failed_attempts: 0,
    }
}

fn last_batch(look: &Look, newest: Option<&Manifest>) -> Option<u64> {
    let after = look.after.as_ref().ok().and_then(|after| after.last_batch);
    after.or_else(|| newest.map(|manifest| manifest.batch.id))
}

fn sources(look: &Look, newest: Option<&Manifest>) -> Sources {
    let metadata = newest.map(|manifest| &manifest.metadata);
    let streams = metadata.and_then(|it| it.get("program")?.get("sources")?.as_object());
    let before = |name: &str| {
        let numbers = metadata.and_then(|it| it.get("numbers")?.get(name)?.as_u64());
        numbers.unwrap_or(0)
    };
    let rows = streams.into_iter().flatten().map(|(name, stream)| {
        let stream = stream.as_u64().and_then(|id| u16::try_from(id).ok());
        let after = look.after.as_ref().ok();
        let after = after.and_then(|after| after.streams.get(&stream?).copied());
        let after = after.unwrap_or_default();
        SourceRow {
            stored: before(name).saturating_add(after.records),
            name: name.clone(),
            duplicates: None,
            skipped: None,
            forgotten: None,
            lag_records: after.records,
            lag_bytes: after.bytes,
            lag_ms: after.oldest_ms.map(|ms| look.at_ms.saturating_sub(ms)),
            rate_limit: None,
        }
    });
    Sources {
        sources: rows.collect(),
    }
}

fn checkpoints(look: &Look, newest: Option<&Manifest>) -> Checkpoints {
    let found = &look.found;
    let age = newest.map(|manifest| look.at_ms.saturating_sub(manifest.batch.time_ms));
    Checkpoints {
        published: found.checkpoints.len() as u64,
        failed: 0,
        newest: newest.map(|manifest| manifest.number),
        newest_batch: newest.map(|manifest| manifest.batch.id),
        age_ms: age,
        longest_pause_ms: 0.0,
        checkpoints: (found.checkpoints.iter())
            .map(|one| checkpoint(one, found.problem(one)))
            .collect(),
    }
}

fn checkpoint(one: &Inspected, error: Option<String>) -> Checkpoint {
    let manifest = one.manifest.as_ref();
    Checkpoint {
        number: Some(one.number),
        batch: manifest.map_or(0, |it| it.batch.id),
        at_ms: manifest.map_or(0, |it| it.created_ms),
        took_ms: None,
        size_bytes: None,
        total_bytes: manifest.map(|it| it.files.iter().map(|file| file.size).sum()),
        files: manifest.map(|it| it.files.len() as u64 + 1),
        error,
    }
}

fn lineage(look: &Look, newest: Option<&Manifest>) -> Lineage {
    let after = look.after.as_ref().ok();
    let (batches, bytes) = match (newest, after) {
        (Some(manifest), Some(after)) => after.to_replay(manifest),
        (None, Some(after)) => {
            let bytes = after.end.saturating_sub(look.from.get());
            (after.last_batch.unwrap_or(0), bytes)
        }
        (_, None) => (0, 0),
    };
    let recovery_ms = newest
        .zip(after)
        .and_then(|(manifest, after)| after.recovery_ms(manifest).1);
    let text = match newest {
        Some(manifest) => format!(
            "checkpoint {} (batch {}) <- {batches} batches, {bytes} bytes of log from LSN {}",
            manifest.number, manifest.batch.id, manifest.lsn
        ),
        None => format!(
            "no checkpoint <- {batches} batches, {bytes} bytes of log from LSN {}",
            look.from
        ),
    };
    Lineage {
        text,
        batches,
        bytes,
        replay_from: look.from.get(),
        recovery_ms,
        target_ms: None,
        points: Vec::new(),
    }
}

fn log(look: &Look, found: &[SegmentInfo]) -> Result<Log> {
    let frames = look.log.frames(look.from);
    let end = frames.as_ref().map_or(look.from, |frames| frames.log_end());
    let cursors = frames.map(|frames| frames.cursors()).unwrap_or_default();
    let mut holds: Vec<Hold> = (cursors.into_iter())
        .map(|cursor| hold(format!("cursor {:?}", cursor.name), cursor.position, end))
        .collect();
    let manifests = look
        .found
        .checkpoints
        .iter()
        .filter_map(|it| it.manifest.as_ref());
    if let Some(oldest) = manifests.map(|manifest| manifest.lsn).min() {
        holds.push(hold(
            "the oldest checkpoint".to_owned(),
            Lsn::new(oldest),
            end,
        ));
    }
    let live = |segment: &&SegmentInfo| !matches!(segment.state, SegmentState::Truncated);
    let tail = found
        .iter()
        .filter(live)
        .rfind(|segment| segment.base <= end);
    let tail = tail.map(|segment| segment.base);
    let segments = found.iter().filter(live).map(|segment| {
        let end = segment.base.get().saturating_add(segment.size_bytes);
        let keepers = holds.iter().filter(|hold| hold.lsn < end);
        Segment {
            base: segment.base.get(),
            end,
            is_tail: Some(segment.base) == tail,
            kept_by: keepers.map(|hold| hold.name.clone()).collect(),
        }
    });
    Ok(Log {
        first_lsn: look.log.first_lsn().get(),
        durable_lsn: end.get(),
        end_lsn: end.get(),
        disk_bytes: found.iter().map(|segment| segment.size_bytes).sum(),
        max_bytes: None,
        free_bytes: look.free_bytes,
        segments: segments.collect(),
        holds,
    })
}

fn hold(name: String, lsn: Lsn, end: Lsn) -> Hold {
    Hold {
        name,
        lsn: lsn.get(),
        bytes: end.get().saturating_sub(lsn.get()),
    }
}

fn no_graph() -> Graph {
    Graph {
        operators: Vec::new(),
        outputs: Vec::new(),
        states: Vec::new(),
    }
}

/// The program that took a checkpoint.
fn graph(manifest: &Manifest) -> Graph {
    let listed = manifest.metadata.get("operators").cloned();
    let listed = listed.and_then(|value| serde_json::from_value::<Vec<OperatorInfo>>(value).ok());
    let operators = listed
        .unwrap_or_default()
        .into_iter()
        .map(|operator| Operator {
            kind: operator.kind,
            name: operator.name,
            inputs: operator.inputs,
            defined_at: operator.defined_at,
        });
    let states = manifest.states.iter().map(|state| State {
        name: state.name.clone(),
        keys: state.entries,
        changed_keys: 0,
    });
    Graph {
        operators: operators.collect(),
        outputs: Vec::new(),
        states: states.collect(),
    }
}

fn settings(manifest: &Manifest) -> BTreeMap<String, String> {
    let settings = manifest.metadata.get("settings").and_then(Value::as_object);
    let settings = settings.into_iter().flatten();
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    settings
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// What is wrong with the directory.
fn errors(look: &Look, segments: &[SegmentInfo]) -> Vec<ErrorRow> {
    let row = |place: String, message: String| ErrorRow {
        place,
        batch: None,
        message,
        since_ms: look.at_ms,
        at_ms: look.at_ms,
        times: 1,
    };
    let mut errors: Vec<ErrorRow> = Vec::new();
    errors.extend(
        look.found
            .uncovered
            .clone()
            .map(|why| row("checkpoints".to_owned(), why)),
    );
    for one in &look.found.checkpoints {
        let problem = look.found.problem(one);
        errors.extend(problem.map(|why| row(format!("checkpoint {}", one.number), why)));
    }
    for segment in segments {
        if let SegmentState::Damaged(why) = &segment.state {
            errors.push(row(format!("segment {}", segment.base), why.to_string()));
        }
    }
    errors.extend(
        look.after
            .as_ref()
            .err()
            .map(|why| row("log".to_owned(), why.clone())),
    );
    errors
}
