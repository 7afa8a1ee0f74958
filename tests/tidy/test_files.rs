//! Files of tests: each is part of a test program, and the documents name them where they are.

use crate::{documents, read, relative, root, rust_files};

/// A file beside the `main.rs` of a test program that it does not name would never be compiled, and
/// its tests would never run, without a word.
#[test]
fn every_file_of_a_test_program_is_a_module_of_it() {
    let mut programs = 0;
    for main in rust_files() {
        let dir = main.parent().unwrap();
        if !main.ends_with("main.rs") || !dir.parent().unwrap().ends_with("tests") {
            continue;
        }
        programs += 1;
        let modules = read(&main);
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let is_module = path.extension().is_some_and(|ending| ending == "rs");
            assert!(
                !is_module || name == "main" || modules.contains(&format!("\nmod {name};")),
                "{} is no module of {}: its tests never run",
                relative(&path),
                relative(&main)
            );
        }
    }
    assert!(programs > 8, "{programs} test programs");
}

/// The test files that a text names, `{a, b}` as two.
fn named(text: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || "/_.-{}, ".contains(c);
    let mut found = Vec::new();
    for quoted in text.split('`').skip(1).step_by(2) {
        let is_file = quoted.contains("tests/") && quoted.ends_with(".rs");
        if !is_file || !quoted.chars().all(is_path) {
            continue;
        }
        match quoted.split_once('{').and_then(|(head, rest)| {
            let (names, tail) = rest.split_once('}')?;
            Some((head, names, tail))
        }) {
            Some((head, names, tail)) => {
                let names = names.split(", ");
                found.extend(names.map(|name| format!("{head}{name}{tail}")));
            }
            None => found.push(quoted.to_owned()),
        }
    }
    found
}

#[test]
fn documents_name_test_files_where_they_are() {
    let mut count = 0;
    for document in documents() {
        let beside = document.parent().unwrap();
        let missing = |file: &String| !root().join(file).exists() && !beside.join(file).exists();
        let files = named(&read(&document));
        count += files.len();
        let missing: Vec<_> = files.into_iter().filter(missing).collect();
        assert_eq!(missing, [""; 0], "{}", relative(&document));
    }
    assert!(count > 50, "{count} test files are named");
}

#[test]
fn names_in_braces_are_files_too() {
    let text = "See `tests/a.rs`, `wal/tests/{b, c}.rs`, `tests/` and `d.rs`.";
    assert_eq!(
        named(text),
        ["tests/a.rs", "wal/tests/b.rs", "wal/tests/c.rs"]
    );
}
