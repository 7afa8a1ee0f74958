//! An entry per line.

use crate::checkpoint::entries::Entry;
use crate::decode;
use highwater_log::outcome::Result;
use highwater_log::output::Output;
use highwater_log::text;
use rmpv::Value as Pack;
use serde_json::Map;

/// Key, tab, value; where the state has timeouts, another tab and the time of the last visit.
pub(super) fn text(entry: &Entry, out: &mut Output) -> Result<()> {
    let text = |value: &Pack| text::printable(&decode::json(value).to_string());
    let mut line = format!("{}\t{}", text(&entry.key), text(&entry.value));
    if let Some(ms) = entry.last_visit.to_json() {
        line.push_str(&format!("\tlast_visit_ms={ms}"));
    }
    out.line(line)
}

/// An object.
pub(super) fn json(entry: &Entry, out: &mut Output) -> Result<()> {
    let mut object = Map::new();
    object.insert("key_group".to_owned(), entry.key_group.into());
    object.insert("key".to_owned(), decode::json(&entry.key));
    object.insert("value".to_owned(), decode::json(&entry.value));
    if let Some(ms) = entry.last_visit.to_json() {
        object.insert("last_visit_ms".to_owned(), ms);
    }
    out.json(&object)
}
