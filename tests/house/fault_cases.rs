//! The table of fault cases in `docs/guarantees.md` is true: every case of the log is there once,
//! in order, and every test file that it names exists and cites the case.
#![expect(
    clippy::disallowed_methods,
    reason = "this test reads the source tree itself"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The cases of the log; the others belong to parts that have their own documents.
const CASES: std::ops::RangeInclusive<u32> = 1..=52;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The numbers behind each `F` in comments; `F4-F11` stands for all from 4 to 11.
fn cited(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let Some((_, comment)) = line.split_once("//") else {
            continue;
        };
        for word in comment.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            let numbers: Vec<u32> = word
                .split('-')
                .filter_map(|part| part.strip_prefix('F')?.parse().ok())
                .collect();
            match numbers[..] {
                [one] => drop(found.insert(one)),
                [first, last] => found.extend(first..=last),
                _ => {}
            }
        }
    }
    found
}

/// Number and last column of each row of the table.
fn rows() -> Vec<(u32, String)> {
    let text = read("docs/guarantees.md");
    let (_, table) = text.split_once("## Fault cases").unwrap();
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| F")?.split(" | ");
        let number = cells.next()?.parse().ok()?;
        let tests = cells.last()?.trim_end_matches(" |").to_owned();
        Some((number, tests))
    });
    rows.collect()
}

#[test]
fn every_case_stands_in_the_table_once() {
    let numbers: Vec<u32> = rows().into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, CASES.collect::<Vec<_>>());
}

#[test]
fn every_test_file_named_cites_its_case() {
    let mut wrong = Vec::new();
    for (number, tests) in rows() {
        let files: Vec<&str> = tests
            .split('`')
            .filter(|part| part.ends_with(".rs"))
            .collect();
        if files.is_empty() {
            wrong.push(format!("F{number} names no test"));
        }
        for file in files {
            if !cited(&read(file)).contains(&number) {
                wrong.push(format!("{file} does not cite F{number}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn citations_are_found_as_they_are_written() {
    let text = "/// F1, F4-F6: both.\nlet f9 = \"F9\"; // F12\n//! F15 on F17.\nF2\n";
    assert_eq!(
        cited(text).into_iter().collect::<Vec<_>>(),
        [1, 4, 5, 6, 12, 15, 17]
    );
}
