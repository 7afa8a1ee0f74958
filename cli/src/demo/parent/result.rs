//! What the child has counted, read from its last checkpoint and its text files when it has
//! stopped.

use crate::checkpoint::entries::each_entry;
use crate::checkpoint::store::Found;
use crate::decode;
use crate::demo::child::program::{COUNTS, ENGINE, LINES, OUTPUT};
use crate::demo::child::seen_lines::SeenLines;
use crate::demo::parent::corpus::read_file;
use crate::demo::parent::verdict::Counted;
use highwater::checkpoint::Manifest;
use highwater::disk::{Disk, OsDisk};
use highwater_log::outcome::{Failure, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;

/// The marker of the text output: it stays.
const MARKER: &str = ".lines.highwater";

/// Reads the result in the engine directory `dir`.
pub(crate) fn read(dir: &Path) -> Result<Counted> {
    let found = Found::read(&dir.join(ENGINE))?;
    let manifest = found.recovered_from();
    let manifest =
        manifest.ok_or_else(|| Failure::Finding("there is no usable checkpoint".to_owned()))?;
    let mut counted = Counted::default();
    each(&found, manifest, COUNTS, |word: String, count: u64| {
        *counted.words.entry(word).or_default() += count;
    })?;
    each(
        &found,
        manifest,
        LINES,
        |key: u64, seen_lines: SeenLines| {
            // A key that is there twice would be a bug: it must not be hidden.
            let known = counted.lines.entry(key).or_default();
            known.again +=
                seen_lines.again + u64::from((known.seen & seen_lines.seen).count_ones());
            known.seen |= seen_lines.seen;
        },
    )?;
    counted.written = written(&dir.join(OUTPUT))?;
    Ok(counted)
}

fn each<K: DeserializeOwned, V: DeserializeOwned>(
    found: &Found,
    manifest: &Manifest,
    name: &str,
    mut take: impl FnMut(K, V),
) -> Result<()> {
    let Some(state) = manifest.states.iter().find(|s| s.name == name) else {
        return Ok(());
    };
    each_entry(&found.to_read(manifest), state, |entry| {
        let (key, value) = (decode::json(&entry.key), decode::json(&entry.value));
        take(typed(name, key)?, typed(name, value)?);
        Ok(ControlFlow::Continue(()))
    })
}

fn typed<T: DeserializeOwned>(state: &str, value: Value) -> Result<T> {
    let text = value.to_string();
    serde_json::from_value(value)
        .map_err(|e| Failure::Finding(format!("state \"{state}\" holds {text}: {e}")))
}

/// Adds up the text files: each holds the number of lines of one batch.
fn written(dir: &Path) -> Result<u64> {
    let disk = OsDisk::new();
    let entries = disk.list(dir).map_err(|e| Failure::Io(e.to_string()))?;
    let mut sum = 0;
    for entry in entries {
        let path = dir.join(&entry.name);
        let name = entry.name.to_string_lossy();
        if name == MARKER {
            continue;
        }
        if name.starts_with('.') {
            return Err(Failure::Finding(format!(
                "{} is left after a graceful stop",
                path.display()
            )));
        }
        let bytes = read_file(&disk, &path).map_err(|e| Failure::Io(e.to_string()))?;
        for line in String::from_utf8_lossy(&bytes).lines() {
            let count: Result<u64, _> = line.parse();
            sum += count
                .map_err(|e| Failure::Finding(format!("{} holds {line:?}: {e}", path.display())))?;
        }
    }
    Ok(sum)
}
