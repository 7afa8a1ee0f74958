//! The operators of the engine, as its source has them: for tests of documents.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test code, which reads the source tree itself"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All source files below a folder.
pub(crate) fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
    found
}

/// The operators of the code: what knows where the program calls it.
pub(crate) fn operators(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in sources(&root.join("engine/src/operators")) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            if let ["#[track_caller]", function] = pair
                && let Some(function) = function.strip_prefix("pub fn ")
            {
                let name = function.split(['(', '<']).next().unwrap();
                found.insert(name.to_owned());
            }
        }
    }
    found
}
