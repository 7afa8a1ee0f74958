//! The tables of `docs/operators.md` are true: every operator of the engine has its row, every row
//! is of an operator, and every test that a row names is there.
#![expect(
    clippy::disallowed_methods,
    reason = "this test reads the source tree itself"
)]

use crate::operators::{operators, sources};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The names in the first and in the last column of each row.
fn rows() -> Vec<(Vec<String>, Vec<String>)> {
    let text = fs::read_to_string(root().join("docs/operators.md")).unwrap();
    let code = |cell: &str| {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect::<Vec<_>>()
    };
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 6, "{row}");
        (code(cells[0]), code(cells[5]))
    })
    .collect()
}

#[test]
fn every_operator_has_its_row_and_every_row_its_operator() {
    let in_code = operators(&root());
    assert!(in_code.contains("map") && in_code.len() > 30, "{in_code:?}");
    let in_rows: Vec<String> = rows().into_iter().flat_map(|(names, _)| names).collect();
    let set: BTreeSet<String> = in_rows.iter().cloned().collect();
    assert_eq!(set.len(), in_rows.len(), "an operator stands in two rows");
    let missing: Vec<_> = in_code.difference(&set).collect();
    let unknown: Vec<_> = set.difference(&in_code).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/operators.md has no row of {missing:?}; it has rows of {unknown:?}, which the code does not have"
    );
}

#[test]
fn every_row_names_a_test_that_is_there() {
    let mut texts = sources(&root().join("engine/tests"));
    texts.extend(sources(&root().join("engine/src")));
    let text = texts.concat();
    for (operators, tests) in rows() {
        assert!(!tests.is_empty(), "{operators:?} names no test");
        for test in tests {
            let is_test = text.contains(&format!("#[test]\nfn {test}() {{"))
                || text.contains(&format!("#[test]\n    fn {test}() {{"));
            assert!(is_test, "{operators:?}: there is no test {test}");
        }
    }
}
