//! `highwater checkpoint diff`.

use crate::args::DiffArgs;
use crate::checkpoint::choice::choose;
use crate::checkpoint::meaning::MessagePack;
use crate::checkpoint::store::Found;
use crate::decode::{self, LastVisit};
use crate::fail::OrFail;
use highwater::checkpoint::{
    Change, Checkpoint, Comparison, Difference, Manifest, StateDifference, StateEntry,
};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::{Output, add_row, render, table};
use highwater_log::text;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) equal: bool,
    before: Side,
    after: Side,
    /// Whether both have a key in the same key group.
    same_key_groups: bool,
    states: Vec<State>,
}

/// One of the two checkpoints.
#[derive(Debug, Serialize)]
struct Side {
    place: String,
    number: u64,
    batch: u64,
    lsn: u64,
    key_groups: Option<u64>,
    hash_seed: Option<String>,
}

/// What differs in a state.
#[derive(Debug, Serialize)]
struct State {
    name: String,
    equal: bool,
    /// What the checkpoints say of it; null where one does not have it.
    before: Option<About>,
    after: Option<About>,
    added: u64,
    removed: u64,
    changed: u64,
    same: u64,
    /// The first keys that differ.
    keys: Vec<Key>,
}

/// What a checkpoint says of a state.
#[derive(Debug, PartialEq, Serialize)]
struct About {
    kind: String,
    codec: String,
    types: String,
    keys: u64,
}

/// A key that differs.
#[derive(Debug, Serialize)]
struct Key {
    change: &'static str,
    key_group: u32,
    key: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Stored>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Stored>,
}

/// A value, and when its key was visited last.
#[derive(Debug, Serialize)]
struct Stored {
    value: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_visit_ms: Option<Value>,
}

/// Runs the command.
pub(crate) fn diff(args: &DiffArgs, out: &mut Output) -> Result<Outcome> {
    let first = Found::read(&args.dir)?;
    let other = args.with.as_deref().map(Found::read).transpose()?;
    let second = other.as_ref().unwrap_or(&first);
    let before = choose(&first, Some(args.before))?;
    let after = choose(second, Some(args.after))?;
    let usable = before.problem.is_none() && after.problem.is_none();
    let sides = ((&first, before.manifest), (second, after.manifest));
    let compared = Compared::new(sides, args.state.as_deref(), args.limit)?;
    out.show(args.json, &compared, print)?;
    Ok(Outcome::clean_if(compared.equal && usable))
}

impl Compared {
    /// Compares two checkpoints: all their states, or one. Of each `limit` keys are told.
    pub(crate) fn new(
        ((first, before), (second, after)): ((&Found, &Manifest), (&Found, &Manifest)),
        state: Option<&str>,
        limit: u64,
    ) -> Result<Self> {
        let (old, new) = (first.to_read(before), second.to_read(after));
        let sides = [Side::new(first, before), Side::new(second, after)];
        let same_key_groups = before.format_version.min(2) == after.format_version.min(2)
            && sides[0].key_groups.is_some()
            && (sides[0].key_groups, &sides[0].hash_seed)
                == (sides[1].key_groups, &sides[1].hash_seed);
        let names = match state {
            None => Comparison::new(&old, &new, &MessagePack).states(),
            Some(name) if before.state(name).is_none() && after.state(name).is_none() => {
                return Err(Failure::Usage(format!(
                    "neither checkpoint has a state \"{name}\""
                )));
            }
            Some(name) => vec![name.to_owned()],
        };
        let states = names
            .iter()
            .map(|name| State::compare((&old, &new), name, same_key_groups, limit))
            .collect::<Result<Vec<State>>>()?;
        let [before, after] = sides;
        Ok(Self {
            equal: states.iter().all(|state| state.equal),
            before,
            after,
            same_key_groups,
            states,
        })
    }
}

impl Side {
    fn new(found: &Found, manifest: &Manifest) -> Self {
        let program = manifest.metadata.get("program");
        let of = |field: &str| program.and_then(|program| program.get(field));
        Self {
            place: found.place.store.place(),
            number: manifest.number,
            batch: manifest.batch.id,
            lsn: manifest.lsn,
            key_groups: of("key_groups").and_then(Value::as_u64),
            hash_seed: of("hash_seed").and_then(Value::as_str).map(str::to_owned),
        }
    }
}

impl State {
    fn compare(
        (old, new): (&Checkpoint, &Checkpoint),
        name: &str,
        same_key_groups: bool,
        limit: u64,
    ) -> Result<Self> {
        let types = |c: &Checkpoint| c.manifest().state(name).map(|s| s.fingerprint.clone());
        // Another type may be hashed otherwise.
        let same_groups = same_key_groups && types(old) == types(new);
        let comparison = Comparison::new(old, new, &MessagePack).same_groups(same_groups);
        let mut first = First::new(limit);
        let found = comparison
            .state(name, |difference| first.note(&difference))
            .or_fail()?;
        let is_equal = found.is_equal();
        let StateDifference {
            name,
            before,
            after,
            added,
            removed,
            changed,
            same,
        } = found;
        Ok(Self {
            name,
            equal: is_equal,
            before: before.map(About::new),
            after: after.map(About::new),
            added,
            removed,
            changed,
            same,
            keys: first.keys.into_values().collect(),
        })
    }
}

impl About {
    fn new(state: StateEntry) -> Self {
        Self {
            kind: state.kind,
            codec: state.codec,
            types: state.fingerprint,
            keys: state.entries,
        }
    }
}

/// The first keys that differ, by key group and by the order in which they came.
struct First {
    limit: u64,
    seen: u64,
    keys: BTreeMap<(u32, u64), Key>,
}

impl First {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            seen: 0,
            keys: BTreeMap::new(),
        }
    }

    fn note(&mut self, difference: &Difference<'_>) {
        self.seen += 1;
        let place = (difference.key_group, self.seen);
        let is_full = self.keys.len() as u64 >= self.limit;
        let last = self.keys.last_key_value().map(|(place, _)| *place);
        if is_full && last.is_none_or(|last| place > last) {
            return;
        }
        self.keys.insert(place, Key::new(difference));
        if is_full {
            self.keys.pop_last();
        }
    }
}

impl Key {
    fn new(difference: &Difference<'_>) -> Self {
        Self {
            change: match difference.change {
                Change::Added => "added",
                Change::Removed => "removed",
                Change::Changed => "changed",
            },
            key_group: difference.key_group,
            key: decode::to_json_or_base64(difference.key),
            before: difference.before.map(Stored::new),
            after: difference.after.map(Stored::new),
        }
    }

    fn to_text(&self) -> String {
        let key = text::printable(&self.key.to_string());
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                format!("~ {key}\t{} -> {}", before.to_text(), after.to_text())
            }
            (Some(before), None) => format!("- {key}\t{}", before.to_text()),
            (None, after) => {
                let after = after.as_ref().map(Stored::to_text);
                format!("+ {key}\t{}", after.unwrap_or_default())
            }
        }
    }
}

impl Stored {
    fn new(bytes: &[u8]) -> Self {
        let decoded = decode::to_state(bytes);
        let (value, last_visit) = match &decoded {
            Some((value, last_visit)) => (decode::json(value), *last_visit),
            None => (decode::to_json_or_base64(bytes), LastVisit::None),
        };
        Self {
            value,
            last_visit_ms: last_visit.to_json(),
        }
    }

    fn to_text(&self) -> String {
        let value = text::printable(&self.value.to_string());
        match &self.last_visit_ms {
            Some(ms) => format!("{value} (last visit {ms})"),
            None => value,
        }
    }
}

/// Prints it for people.
pub(crate) fn print(compared: &Compared, out: &mut Output) -> Result<()> {
    for (name, side) in [("before", &compared.before), ("after", &compared.after)] {
        let (place, number) = (text::printable(&side.place), side.number);
        let (batch, lsn) = (side.batch, side.lsn);
        out.line(format!(
            "{name:<6}  checkpoint {number} in {place}: batch {batch}, LSN {lsn}"
        ))?;
    }
    if !compared.same_key_groups {
        let of = |side: &Side| {
            let groups = side.key_groups.map_or("?".to_owned(), |n| n.to_string());
            let seed = side.hash_seed.as_deref().unwrap_or("none");
            format!("{groups} with hash seed {seed}")
        };
        let (before, after) = (of(&compared.before), of(&compared.after));
        out.line(format!(
            "key groups differ ({before}; {after}): keys are compared wherever they are"
        ))?;
    }
    let titles = ["state", "#added", "#removed", "#changed", "#same", "is"];
    let mut lines = table(&titles);
    for state in &compared.states {
        let is = match (&state.before, &state.after) {
            (None, _) => "only after".to_owned(),
            (_, None) => "only before".to_owned(),
            _ if state.equal => "equal".to_owned(),
            (Some(before), Some(after)) => about(before, after),
        };
        let counts = [state.added, state.removed, state.changed, state.same];
        let [added, removed, changed, same] = counts.map(text::grouped);
        let cells = [state.name.clone(), added, removed, changed, same, is];
        add_row(&mut lines, cells);
    }
    out.line("")?;
    out.line(render(&lines))?;
    for state in compared.states.iter().filter(|s| !s.keys.is_empty()) {
        out.line(format!("\n{}", text::printable(&state.name)))?;
        for key in &state.keys {
            out.line(key.to_text())?;
        }
        let all = state.added + state.removed + state.changed;
        let more = all.saturating_sub(state.keys.len() as u64);
        if more > 0 {
            out.line(format!("and {} more (--limit)", text::grouped(more)))?;
        }
    }
    Ok(())
}

/// In what the checkpoints differ besides keys.
fn about(before: &About, after: &About) -> String {
    let fields = [
        ("kind", &before.kind, &after.kind),
        ("codec", &before.codec, &after.codec),
        ("types", &before.types, &after.types),
    ];
    let differ = fields.into_iter().filter(|(_, a, b)| a != b);
    let differ = differ.map(|(name, a, b)| format!(", {name} {a} -> {b}"));
    format!("different{}", differ.collect::<String>())
}
