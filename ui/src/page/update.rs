//! What of a page changes, for pages that are open: server-sent events.
//!
//! | event | data |
//! |---|---|
//! | `status` | `phase`, `title`, `sentence`, `facts` (HTML) |
//! | `panel` | `id`, `sentence`, `table` (HTML), `drawing` (HTML, or null) |
//! | `charts` | `batches`: columns; `lineage`: columns |
//! | `trouble` | `sentence`: nothing can be seen at the moment |

use crate::page::document::{facts, phase};
use crate::page::panels::PANELS;
use crate::snapshot::Snapshot;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

/// An event, and a hash of it: one that says the same is not told again.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) text: String,
    pub(crate) print: u64,
}

impl Event {
    fn new(name: &str, data: &Value) -> Self {
        // JSON has no line breaks outside of strings, and escapes those inside.
        let text = format!("event: {name}\ndata: {data}\n\n");
        Self {
            print: xxh3_64(text.as_bytes()),
            text,
        }
    }
}

/// Everything that a page which is open shows, one event for each part of it. The same part always
/// has the same place.
pub(crate) fn events(now: &Result<Snapshot, String>) -> Vec<Event> {
    let now = match now {
        Ok(now) => now,
        Err(why) => return vec![Event::new("trouble", &json!({ "sentence": why }))],
    };
    let status = &now.status;
    let line = json!({
        "phase": phase(status),
        "title": status.phase.title(),
        "application": status.application,
        "sentence": status.sentence,
        "facts": facts(status).into_string(),
    });
    let mut events = vec![Event::new("status", &line)];
    events.extend(PANELS.iter().map(|panel| {
        let data = json!({
            "id": panel.id,
            "sentence": (panel.sentence)(now),
            "table": (panel.table)(now).into_string(),
            "drawing": panel.drawing.map(|draw| draw(now).into_string()),
        });
        Event::new("panel", &data)
    }));
    events.push(Event::new("charts", &charts(now)));
    events
}

/// The newest last: times in seconds, then a column for each series.
fn charts(now: &Snapshot) -> Value {
    let batches = || now.batches.batches.iter().rev();
    let step = |name: &str| -> Vec<f64> {
        let took = batches().map(|batch| {
            let step = batch.steps.iter().find(|step| step.step == name);
            step.map_or(0.0, |step| step.took_ms)
        });
        took.collect()
    };
    let steps = ["run", "stage", "commit", "publish", "checkpoint"];
    let steps = steps.map(|name| json!({ "name": name, "ms": step(name) }));
    let seconds = |at_ms: u64| at_ms as f64 / 1e3;
    let points = &now.lineage.points;
    json!({
        "batches": {
            "id": batches().map(|batch| batch.id).collect::<Vec<_>>(),
            "time": batches().map(|batch| seconds(batch.at_ms)).collect::<Vec<_>>(),
            "steps": steps,
            "waited": batches().map(|batch| batch.waited_ms).collect::<Vec<_>>(),
        },
        "lineage": {
            "time": points.iter().map(|point| seconds(point.at_ms)).collect::<Vec<_>>(),
            "batches": points.iter().map(|point| point.batches).collect::<Vec<_>>(),
        },
    })
}
