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

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

/// Which crates a crate may depend on; nothing else.
const EDGES: [(&str, &[&str]); 7] = [
    ("disk", &[]),
    ("wal", &["disk"]),
    ("checkpoint", &["disk"]),
    ("engine", &["checkpoint", "wal"]),
    ("connectors", &["engine"]),
    (".", &["connectors"]),
    ("cli", &["highwater"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every Rust file of the workspace, relative to the root.
fn rust_files() -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, found);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    assert!(found.len() > 50, "the tree is where this test looks");
    found
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
fn files_and_functions_stay_small() {
    let mut broken = Vec::new();
    for path in rust_files().iter().filter(|p| !is_test_code(p)) {
        let text = read(path);
        let lines = production_lines(&text);
        if lines.len() > MAX_FILE_LINES {
            broken.push(format!("{} has {} lines", relative(path), lines.len()));
        }
        broken.extend(
            long_functions(&lines)
                .into_iter()
                .map(|f| format!("{}: {f}", relative(path))),
        );
    }
    assert!(
        broken.is_empty(),
        "over {MAX_FILE_LINES} lines a file or {MAX_FUNCTION_LINES} a function:\n{}",
        broken.join("\n")
    );
}

/// Functions over the bound; in formatted code a function ends at the first `}` that stands as far
/// in as its `fn`.
fn long_functions(lines: &[&str]) -> Vec<String> {
    let mut open: BTreeMap<usize, (usize, String)> = BTreeMap::new();
    let mut long = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let head = ["pub(crate) ", "pub(super) "]
            .iter()
            .find_map(|visible| code.strip_prefix(visible))
            .unwrap_or(code);
        let declares = head
            .split('(')
            .next()
            .is_some_and(|head| head.split(' ').any(|word| word == "fn"));
        if declares && !code.starts_with("//") && !code.ends_with(';') {
            open.insert(indent, (number, code.chars().take(60).collect()));
        } else if code == "}"
            && let Some((start, name)) = open.remove(&indent)
            && number - start > MAX_FUNCTION_LINES
        {
            long.push(format!("{name}.. has {} lines", number - start));
        }
    }
    long
}

/// A function of the crate alone was not measured: its line begins with `pub(crate)`, which has a
/// bracket of its own.
#[test]
fn functions_of_every_visibility_are_measured() {
    for visible in [
        "",
        "pub ",
        "pub(crate) ",
        "pub(super) ",
        "pub const ",
        "pub(crate) async ",
    ] {
        let mut text = format!("    {visible}fn long(&self) -> Result<()> {{\n");
        text.push_str(&"        work();\n".repeat(MAX_FUNCTION_LINES + 1));
        text.push_str("    }\n");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(long_functions(&lines).len(), 1, "{visible}");
        assert!(long_functions(&lines[..40]).is_empty());
    }
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
        if !name.starts_with("disk/") && name != "tests/tidy.rs" && !bound && !device {
            assert!(
                !code().any(|l| l.contains("unsafe ")),
                "{name} contains unsafe code"
            );
        }
        if !name.starts_with("engine/src/exec/") && name != "tests/tidy.rs" {
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
    let mut documents: Vec<PathBuf> = vec![root()];
    documents.extend(["docs", "docs/decisions", "docs/format"].map(|d| root().join(d)));
    for dir in documents {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "md") {
                continue;
            }
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
}

/// A crate's README is shown by crates.io and docs.rs too, where a relative link leads nowhere: it
/// names files of the repository as code.
#[test]
fn the_readmes_of_crates_have_no_relative_links() {
    for (package, _) in EDGES.iter().filter(|(package, _)| *package != ".") {
        let text = read(&root().join(package).join("README.md"));
        for target in text.split("](").skip(1) {
            assert!(target.starts_with("https://"), "{package}: {target:.40}");
        }
    }
}
