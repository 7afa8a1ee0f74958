//! Which panels there are, in the order in which people read them in an incident, and what each
//! says.

use crate::page::panel::Panel;
use crate::page::text::{bytes, counted, number, span, whole_span};
use crate::page::{graph, log_map, tables};
use crate::snapshot::{Phase, Snapshot};

/// All panels but the state line.
pub(super) const PANELS: [Panel; 9] = [
    Panel {
        id: "sources",
        title: "Lag of the sources",
        chart: None,
        sentence: of_sources,
        drawing: None,
        table: tables::sources,
    },
    Panel {
        id: "batches",
        title: "Batches",
        chart: Some("What each of the newest batches took, by step, in milliseconds"),
        sentence: of_batches,
        drawing: None,
        table: tables::batches,
    },
    Panel {
        id: "checkpoints",
        title: "Checkpoints",
        chart: None,
        sentence: of_checkpoints,
        drawing: None,
        table: tables::checkpoints,
    },
    Panel {
        id: "lineage",
        title: "Lineage",
        chart: Some(
            "Batches that a crash would have had to replay, after each of the newest batches",
        ),
        sentence: of_lineage,
        drawing: None,
        table: tables::lineage,
    },
    Panel {
        id: "log",
        title: "Log",
        chart: None,
        sentence: of_log,
        drawing: Some(log_map::draw),
        table: tables::log,
    },
    Panel {
        id: "receivers",
        title: "Receivers",
        chart: None,
        sentence: of_receivers,
        drawing: None,
        table: tables::receivers,
    },
    Panel {
        id: "dead-letters",
        title: "Dead letters",
        chart: None,
        sentence: of_dead_letters,
        drawing: None,
        table: tables::dead_letters,
    },
    Panel {
        id: "graph",
        title: "Operators",
        chart: None,
        sentence: of_graph,
        drawing: Some(graph::draw),
        table: tables::graph,
    },
    Panel {
        id: "errors",
        title: "Recent errors",
        chart: None,
        sentence: of_errors,
        drawing: None,
        table: tables::errors,
    },
];

fn of_sources(now: &Snapshot) -> String {
    let sources = &now.sources.sources;
    let records: u64 = sources.iter().map(|source| source.lag_records).sum();
    let size: u64 = sources.iter().map(|source| source.lag_bytes).sum();
    if sources.is_empty() {
        return "Nothing is known of sources.".to_owned();
    }
    if now.status.phase == Phase::AtRest {
        return format!(
            "{} ({}) came after the newest checkpoint.",
            counted(records, "record", "records"),
            bytes(size)
        );
    }
    if records == 0 {
        return "Every record that was received is in a completed batch.".to_owned();
    }
    let oldest = sources.iter().filter_map(|source| source.lag_ms).max();
    let oldest = oldest.map_or_else(String::new, |ms| {
        format!("; the oldest was received {} ago", whole_span(ms))
    });
    let wait = if records == 1 { "waits" } else { "wait" };
    let records = counted(records, "record", "records");
    format!("{records} ({}) {wait} for a batch{oldest}.", bytes(size))
}

fn of_batches(now: &Snapshot) -> String {
    let batches = &now.batches.batches;
    if now.status.phase == Phase::AtRest {
        return "A directory does not tell what batches took: the page of its program does."
            .to_owned();
    }
    let Some(last) = batches.first() else {
        return "No batch was completed since the start.".to_owned();
    };
    let mut took: Vec<f64> = batches.iter().map(|batch| batch.took_ms).collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (took.len() as f64 * share) as usize;
        took.get(place.min(took.len() - 1)).copied().unwrap_or(0.0)
    };
    let interval = match now.batches.interval_ms {
        Some(interval) => format!("The interval is {}. ", span(interval)),
        None => String::new(),
    };
    format!(
        "{interval}Batch {} had {} and took {}. Of the last {}, half took at most {}, and 99 % at most {}.",
        last.id,
        counted(last.records, "record", "records"),
        span(last.took_ms),
        number(batches.len() as u64),
        span(at(0.5)),
        span(at(0.99)),
    )
}

fn of_checkpoints(now: &Snapshot) -> String {
    let found = &now.checkpoints;
    let newest = match (found.newest, found.newest_batch) {
        (Some(newest), Some(batch)) => {
            let age = found.age_ms.map_or_else(String::new, |ms| {
                format!(", whose time is {} ago", whole_span(ms))
            });
            format!("The newest is number {newest}, after batch {batch}{age}.")
        }
        _ => "There is none yet: a crash would replay the whole log.".to_owned(),
    };
    let failed = match found.failed {
        0 => String::new(),
        failed => format!(
            " {} failed since the start; the log was kept instead.",
            counted(failed, "attempt has", "attempts have")
        ),
    };
    format!("{newest}{failed}")
}

fn of_lineage(now: &Snapshot) -> String {
    let found = &now.lineage;
    let time = match found.recovery_ms {
        Some(ms) => format!(", in about {}", whole_span(ms)),
        None => String::new(),
    };
    let target = match found.target_ms {
        Some(ms) => format!(" The program allows {}.", whole_span(ms)),
        None => String::new(),
    };
    format!(
        "A crash now would replay {} ({} of log){time}.{target}",
        counted(found.batches, "batch", "batches"),
        bytes(found.bytes)
    )
}

fn of_log(now: &Snapshot) -> String {
    let log = &now.log;
    let bound = match log.max_bytes {
        Some(most) => format!(" of at most {}", bytes(most)),
        None => String::new(),
    };
    let free = match log.free_bytes {
        Some(free) => format!(" {} are free on its file system.", bytes(free)),
        None => String::new(),
    };
    let waiting = log.end_lsn.saturating_sub(log.durable_lsn);
    let durable = match waiting {
        0 => "Everything in it is durable.".to_owned(),
        waiting => format!("The last {} are not durable yet.", bytes(waiting)),
    };
    format!(
        "{} in {}{bound}. {durable}{free}",
        bytes(log.disk_bytes),
        counted(log.segments.len() as u64, "segment", "segments")
    )
}

fn of_receivers(now: &Snapshot) -> String {
    let all = &now.receivers;
    if now.status.phase == Phase::AtRest {
        return "A directory does not tell what receives: the page of its program does.".to_owned();
    }
    if all.is_empty() {
        return "No receiver was started: the program sends its records itself, or they are read by offset.".to_owned();
    }
    let running = all.iter().filter(|receiver| receiver.state == "running");
    let failed = all.iter().filter(|receiver| receiver.failures > 0);
    let failed = match failed.count() {
        0 => "none has failed since the start".to_owned(),
        1 => "one has failed since the start".to_owned(),
        count => format!("{count} have failed since the start"),
    };
    format!("{} of {} run; {failed}.", running.count(), all.len())
}

fn of_dead_letters(now: &Snapshot) -> String {
    let found = &now.dead_letters;
    let skipped: u64 = found
        .operators
        .iter()
        .map(|operator| operator.skipped)
        .sum();
    let left_out = match skipped {
        0 => "No record was left out.".to_owned(),
        1 => "One record was left out.".to_owned(),
        many => format!("{} records were left out.", number(many)),
    };
    match found.open {
        0 => format!("No record is put aside. {left_out}"),
        open => format!(
            "{} put aside: `highwater dead-letters list {}` shows them. {left_out}",
            counted(open, "record is", "records are"),
            now.status.dir
        ),
    }
}

fn of_graph(now: &Snapshot) -> String {
    let graph = &now.graph;
    let waiting = graph.outputs.iter().filter(|output| output.waits.is_some());
    let waiting = match waiting.count() {
        0 => String::new(),
        count => format!(", of which {count} wait for their sinks"),
    };
    let keys: u64 = graph.states.iter().map(|state| state.keys).sum();
    format!(
        "{}, {}{waiting}, {} with {}.",
        counted(graph.operators.len() as u64, "operator", "operators"),
        counted(graph.outputs.len() as u64, "output", "outputs"),
        counted(graph.states.len() as u64, "state", "states"),
        counted(keys, "key", "keys"),
    )
}

fn of_errors(now: &Snapshot) -> String {
    match now.errors.first() {
        None if now.status.phase == Phase::AtRest => {
            "Nothing is wrong with what was read of it.".to_owned()
        }
        Some(_) if now.status.phase == Phase::AtRest => "This is wrong with it.".to_owned(),
        None => "Nothing has failed since the start.".to_owned(),
        Some(newest) => format!(
            "The newest was {} ago.",
            whole_span(now.status.at_ms.saturating_sub(newest.at_ms))
        ),
    }
}
