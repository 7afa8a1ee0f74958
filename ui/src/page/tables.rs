//! The tables of the panels.

use crate::page::text::{bytes, number, span, time, whole_span};
use crate::snapshot::Snapshot;
use maud::{Markup, html};

/// So many of the newest are in a table; the JSON twin has all.
const SHOWN: usize = 20;

/// A head of columns; `#` before a name: its values are numbers.
fn head(columns: &[&str]) -> Markup {
    html! {
        thead { tr {
            @for column in columns {
                @match column.strip_prefix('#') {
                    Some(name) => th scope="col" class="number" { (name) },
                    None => th scope="col" { (column) },
                }
            }
        } }
    }
}

fn n(value: impl maud::Render) -> Markup {
    html! { td class="number" { (value) } }
}

/// What is not known, or not there.
fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "\u{2013}".to_owned())
}

fn none(columns: usize, what: &str) -> Markup {
    html! { tr { td colspan=(columns) { (what) } } }
}

pub(super) fn sources(now: &Snapshot) -> Markup {
    let rows = &now.sources.sources;
    html! {
        (head(&["source", "#behind: records", "#bytes", "#time", "#stored", "#duplicates", "#skipped", "#most per second"]))
        tbody {
            @for row in rows {
                tr {
                    th scope="row" { (row.name) }
                    (n(number(row.lag_records))) (n(bytes(row.lag_bytes)))
                    (n(or_dash(row.lag_ms.map(whole_span))))
                    (n(number(row.stored))) (n(or_dash(row.duplicates.map(number)))) (n(or_dash(row.skipped.map(number))))
                    (n(or_dash(row.rate_limit.map(number))))
                }
            }
            @if rows.is_empty() { (none(8, "none")) }
        }
    }
}

pub(super) fn batches(now: &Snapshot) -> Markup {
    let rows = &now.batches.batches;
    let steps = ["run", "stage", "commit", "publish", "checkpoint"];
    html! {
        (head(&["batch", "completed (UTC)", "#records", "#log", "#waited", "#took", "#run", "#stage", "#commit", "#publish", "#checkpoint"]))
        tbody {
            @for row in rows.iter().take(SHOWN) {
                tr {
                    th scope="row" { (row.id) @if row.replayed { " (replayed)" } }
                    td { (time(row.at_ms)) }
                    (n(number(row.records))) (n(bytes(row.to.saturating_sub(row.from))))
                    (n(span(row.waited_ms))) (n(span(row.took_ms)))
                    @for step in steps {
                        @let took = row.steps.iter().find(|it| it.step == step);
                        (n(or_dash(took.map(|it| span(it.took_ms)))))
                    }
                }
            }
            @if rows.is_empty() { (none(11, "none yet")) }
        }
    }
}

pub(super) fn checkpoints(now: &Snapshot) -> Markup {
    let rows = &now.checkpoints.checkpoints;
    html! {
        (head(&["checkpoint", "#after batch", "at (UTC)", "#took", "#written", "#needs", "#files", "error"]))
        tbody {
            @for row in rows.iter().take(SHOWN) {
                tr {
                    th scope="row" { (row.number.map_or_else(|| "failed".to_owned(), |number| number.to_string())) }
                    (n(row.batch))
                    td { (time(row.at_ms)) }
                    (n(or_dash(row.took_ms.map(span)))) (n(or_dash(row.size_bytes.map(bytes))))
                    (n(or_dash(row.total_bytes.map(bytes)))) (n(or_dash(row.files.map(number))))
                    td class="words" { (or_dash(row.error.clone())) }
                }
            }
            @if rows.is_empty() { (none(8, "none since the start")) }
        }
    }
}

pub(super) fn lineage(now: &Snapshot) -> Markup {
    let found = &now.lineage;
    html! {
        (head(&["what", "value"]))
        tbody {
            tr { th scope="row" { "in one line" } td class="words" { (found.text) } }
            tr { th scope="row" { "batches to replay" } td { (number(found.batches)) } }
            tr { th scope="row" { "log to replay" } td { (bytes(found.bytes)) " from LSN " (found.replay_from) } }
            tr { th scope="row" { "estimated recovery" } td { (or_dash(found.recovery_ms.map(whole_span))) } }
            tr { th scope="row" { "target" } td { (or_dash(found.target_ms.map(whole_span))) } }
        }
    }
}

pub(super) fn log(now: &Snapshot) -> Markup {
    let (segments, holds) = (&now.log.segments, &now.log.holds);
    html! {
        (head(&["segment", "#bytes", "kept by"]))
        tbody {
            @for segment in segments.iter().rev().take(SHOWN) {
                tr {
                    th scope="row" { (segment.base) @if segment.is_tail { " (appended to)" } }
                    (n(bytes(segment.end.saturating_sub(segment.base))))
                    td class="words" { (or_dash((!segment.kept_by.is_empty()).then(|| segment.kept_by.join(", ")))) }
                }
            }
            @if segments.len() > SHOWN {
                (none(3, &format!("and {} older ones", number((segments.len() - SHOWN) as u64))))
            }
        }
        tbody {
            tr { th scope="col" { "kept for" } th scope="col" class="number" { "bytes" } th scope="col" { "from LSN" } }
            @for hold in holds {
                tr { th scope="row" { (hold.name) } (n(bytes(hold.bytes))) td { (hold.lsn) } }
            }
            @if holds.is_empty() { (none(3, "nothing but checkpoints")) }
        }
    }
}

pub(super) fn receivers(now: &Snapshot) -> Markup {
    html! {
        (head(&["source", "state", "#failures", "last error (UTC)", "why"]))
        tbody {
            @for row in &now.receivers {
                tr {
                    th scope="row" { (row.source) }
                    td { (row.state) }
                    (n(number(row.failures)))
                    td { (or_dash(row.last_error_ms.map(time))) }
                    td class="words" { (or_dash(row.last_error.clone())) }
                }
            }
            @if now.receivers.is_empty() { (none(5, "none")) }
        }
    }
}

pub(super) fn dead_letters(now: &Snapshot) -> Markup {
    let rows = &now.dead_letters.operators;
    html! {
        (head(&["operator", "#left out", "#put aside"]))
        tbody {
            @for row in rows {
                tr { th scope="row" { (row.operator) } (n(number(row.skipped))) (n(number(row.dead_letters))) }
            }
            @if rows.is_empty() { (none(3, "no operator has refused a record")) }
        }
    }
}

pub(super) fn graph(now: &Snapshot) -> Markup {
    let graph = &now.graph;
    html! {
        (head(&["operator", "kind", "reads from", "defined at"]))
        tbody {
            @for (place, operator) in graph.operators.iter().enumerate() {
                tr {
                    th scope="row" { (place) " " (operator.name.as_deref().unwrap_or("")) }
                    td { (operator.kind) }
                    td { (operator.inputs.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")) }
                    td { (operator.defined_at) }
                }
            }
            @if graph.operators.is_empty() { (none(4, "none is known")) }
        }
        tbody {
            tr { th scope="col" { "output" } th scope="col" colspan="2" { "promises" } th scope="col" { "waits" } }
            @for output in &graph.outputs {
                tr {
                    th scope="row" { (output.output) } td colspan="2" { (output.guarantee) }
                    td class="words" { (or_dash(output.waits.clone())) }
                }
            }
        }
        tbody {
            tr { th scope="col" { "state" } th scope="col" colspan="2" { "keys" } th scope="col" { "changed since the last checkpoint" } }
            @for state in &graph.states {
                tr { th scope="row" { (state.name) } td colspan="2" { (number(state.keys)) } td { (number(state.changed_keys)) } }
            }
        }
    }
}

pub(super) fn errors(now: &Snapshot) -> Markup {
    html! {
        (head(&["where", "#batch", "last (UTC)", "#times", "what"]))
        tbody {
            @for row in now.errors.iter().take(SHOWN) {
                tr {
                    th scope="row" { (row.place) }
                    (n(or_dash(row.batch.map(|batch| batch.to_string()))))
                    td { (time(row.at_ms)) }
                    (n(number(row.times)))
                    td class="words" { (row.message) }
                }
            }
            @if now.errors.is_empty() { (none(5, "none")) }
        }
    }
}
