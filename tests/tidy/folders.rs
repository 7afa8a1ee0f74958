//! Each folder says what its files hold.

use crate::{read, relative, root, rust_files};
use std::fs;
use std::path::Path;

/// The files and folders of `dir`, as modules.
fn modules_in(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_module = path.extension().is_some_and(|e| e == "rs") || path.is_dir();
        if is_module && !["mod", "lib", "main", "tests"].contains(&stem.as_str()) {
            found.push(stem);
        }
    }
    found.sort();
    found
}

/// The names in the first column of the tables of a module's documentation.
fn names_in_tables(text: &str) -> Vec<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | "));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted
        .map(|name| {
            name.trim_end_matches('/')
                .trim_end_matches(".rs")
                .to_owned()
        })
        .collect()
}

#[test]
fn each_folder_opens_with_a_table_of_its_files() {
    let mut broken = Vec::new();
    for path in rust_files().iter().filter(|path| path.ends_with("mod.rs")) {
        let name = relative(path);
        if !name.contains("/src/") || name.contains("/tests/") || name.starts_with("benches/") {
            continue;
        }
        let told = names_in_tables(&read(path));
        for module in modules_in(path.parent().unwrap()) {
            if !told.contains(&module) {
                broken.push(format!("{} does not tell of `{module}`", relative(path)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// `ARCHITECTURE.md` has a map of the log.
#[test]
fn the_map_of_the_log_names_every_file() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let (_, map) = text.split_once("### The files of `wal`").unwrap();
    let map = map.split("\n#").next().unwrap();
    let src = root().join("wal/src");
    let mut missing = Vec::new();
    for folder in modules_in(&src) {
        let dir = src.join(&folder);
        let inside = if dir.is_dir() {
            modules_in(&dir)
        } else {
            vec![]
        };
        let files = inside.into_iter().filter(|file| !file.ends_with("_tests"));
        let names = std::iter::once(folder).chain(files);
        missing.extend(names.filter(|name| !map.contains(&format!("`{name}`"))));
    }
    assert!(missing.is_empty(), "not on the map: {missing:?}");
}
