//! The rules of the house, as tests: dependency edges, sizes, module docs, where `unsafe` and
//! timely may appear.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "this test reads the source tree itself"
)]

mod comments;
mod examples;
mod folders;
mod modules;
mod sizes;
mod test_files;

use std::fs;
use std::path::{Path, PathBuf};

/// Which crates a crate may depend on; nothing else.
const EDGES: [(&str, &[&str]); 13] = [
    ("disk", &[]),
    ("wal", &["disk"]),
    ("log-cli", &["disk", "wal"]),
    ("checkpoint", &["disk"]),
    ("streams", &["checkpoint", "disk", "wal"]),
    ("engine", &["checkpoint", "wal"]),
    ("http", &["wal"]),
    ("serve", &["http", "streams"]),
    ("kafka", &["http", "streams"]),
    ("connectors", &["engine", "http", "streams"]),
    (".", &["connectors"]),
    ("ui", &["highwater", "http"]),
    (
        "cli",
        &[
            "disk",
            "highwater",
            "kafka",
            "log",
            "serve",
            "streams",
            "ui",
        ],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every Rust file, also of the packages outside the workspace.
fn rust_files() -> Vec<PathBuf> {
    files_ending_in(".rs")
}

fn files_ending_in(ending: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, ending, found);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), ending, &mut found);
    assert!(found.len() > 20, "the tree is where this test looks");
    found
}

/// Every document, at any depth.
fn documents() -> Vec<PathBuf> {
    files_ending_in(".md")
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

fn is_test_code(path: &Path) -> bool {
    let path = relative(path);
    path.contains("tests/")
        || ["benches/", "examples/", "fuzz/"]
            .iter()
            .any(|dir| path.starts_with(dir))
}

/// The lines before the unit tests.
fn production_lines(text: &str) -> Vec<&str> {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    for (package, allowed) in EDGES {
        let manifest = read(&root().join(package).join("Cargo.toml"));
        let mut section = "";
        for line in manifest.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            }
            let Some(dependency) = line.strip_prefix("highwater") else {
                continue;
            };
            if section != "dependencies" {
                continue; // tests may look at everything
            }
            let name: String = dependency
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '-')
                .collect();
            let name = if name.is_empty() {
                "highwater"
            } else {
                name.trim_start_matches('-')
            };
            assert!(
                allowed.contains(&name),
                "{package} must not depend on {name}: an edge is a design decision"
            );
        }
    }
}

/// A release that could be told to acknowledge before the sync would be one setting away from
/// losing data: what a manifest may say of the feature is that it exists, what it turns on below,
/// and that tests have it.
#[test]
fn deliberate_faults_are_for_tests_alone() {
    let mut found = 0;
    for (package, _) in EDGES {
        let manifest = read(&root().join(package).join("Cargo.toml"));
        let mut section = "";
        for line in manifest.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            }
            if line.contains("deliberate-faults") {
                let declared = section == "features" && line.starts_with("deliberate-faults = ");
                assert!(
                    declared || section == "dev-dependencies",
                    "{package}: {line}"
                );
                found += 1;
            }
        }
    }
    assert!(found >= 6, "the feature is where this test looks: {found}");
}

#[test]
fn every_file_says_what_it_holds() {
    for path in rust_files() {
        let text = read(&path);
        let first = text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        let documented = first.starts_with("//!") || first.starts_with("#![doc");
        assert!(
            documented,
            "{} does not begin with a module doc",
            relative(&path)
        );
    }
}

#[test]
fn unsafe_code_lives_in_disk_and_timely_in_exec() {
    for path in rust_files() {
        let (name, text) = (relative(&path), read(&path));
        let code = || text.lines().filter(|l| !l.trim_start().starts_with("//"));
        // The bound of mapped files maps one itself: through `disk` it would measure what it is
        // compared with.
        let bound = name == "benches/compare/src/engines/bare_mmap.rs";
        // A device of the kernel is set up by ioctl, for which there is no safe call.
        let device = name == "tests/power-cut/src/nbd.rs";
        if !name.starts_with("disk/") && !name.starts_with("tests/tidy/") && !bound && !device {
            assert!(
                !code().any(|l| l.contains("unsafe ")),
                "{name} contains unsafe code"
            );
        }
        if !name.starts_with("engine/src/exec/") && !name.starts_with("tests/tidy/") {
            assert!(
                !code().any(|l| l.contains("timely::")),
                "{name} knows timely"
            );
        }
    }
}

#[test]
fn no_test_sleeps_and_nothing_is_left_undone() {
    // Put together here so that this file does not find itself.
    let forbidden = [
        ["thread::", "sleep"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["#[", "ignore"],
        ["dbg", "!("],
    ];
    for path in rust_files() {
        let text = read(&path);
        for parts in &forbidden {
            let word = parts.concat();
            assert!(!text.contains(&word), "{} contains {word}", relative(&path));
        }
    }
}

#[test]
fn every_relative_link_in_the_documents_leads_somewhere() {
    for path in documents() {
        let dir = path.parent().unwrap();
        for target in read(&path)
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                assert!(
                    dir.join(file).exists(),
                    "{} links to {file}",
                    relative(&path)
                );
            }
        }
    }
}

/// A crate's README is shown by crates.io and docs.rs too, where a relative link leads nowhere: it
/// names files of the repository as code.
#[test]
fn the_readmes_of_crates_have_no_relative_links() {
    for (package, _) in EDGES {
        let text = read(&root().join(package).join("README.md"));
        for target in text.split("](").skip(1) {
            assert!(target.starts_with("https://"), "{package}: {target:.40}");
        }
    }
}
