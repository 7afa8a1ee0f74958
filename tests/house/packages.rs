//! What is published of each crate: its sources, its README and both licences. No tests, no golden
//! files, no data of benches; and everything that its sources include.
#![allow(clippy::expect_used, reason = "test code")]
#![expect(
    clippy::disallowed_methods,
    reason = "this test reads the source tree itself"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Each crate, and where it is.
const CRATES: [(&str, &str); 13] = [
    ("highwater-disk", "disk"),
    ("highwater-wal", "wal"),
    ("highwater-log", "log-cli"),
    ("highwater-checkpoint", "checkpoint"),
    ("highwater-streams", "streams"),
    ("highwater-engine", "engine"),
    ("highwater-http", "http"),
    ("highwater-serve", "serve"),
    ("highwater-kafka", "kafka"),
    ("highwater-connectors", "connectors"),
    ("highwater", "."),
    ("highwater-ui", "ui"),
    ("highwater-cli", "cli"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files that `cargo package` takes of a crate.
fn packaged(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "package",
            "--list",
            "--allow-dirty",
            "--offline",
            "-p",
            name,
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    let list = String::from_utf8(output.stdout).unwrap();
    list.lines().map(str::to_owned).collect()
}

/// Whether a file belongs into a package.
fn is_wanted(file: &str) -> bool {
    // What `cargo` adds.
    let added = [
        ".cargo_vcs_info.json",
        "Cargo.lock",
        "Cargo.toml",
        "Cargo.toml.orig",
    ];
    let texts = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
    let rust = file.ends_with(".rs");
    added.contains(&file)
        || texts.contains(&file)
        || rust && (file == "build.rs" || file.starts_with("src/") || file.starts_with("examples/"))
        || file.starts_with("docs/guide/src/") && file.ends_with(".md")
        // What the page of `ui` loads.
        || file.starts_with("assets/")
}

/// What a source includes, as a path from the crate's directory. A name that a macro puts together
/// stands for its folder.
fn included(file: &str, text: &str) -> Vec<String> {
    let from = Path::new(file).parent().unwrap();
    let inclusions = ["include_str!(", "include_bytes!(", "include!("];
    let mut found = Vec::new();
    for rest in inclusions.iter().flat_map(|i| text.split(i).skip(1)) {
        let Some(path) = rest.split('"').nth(1) else {
            continue;
        };
        let mut clean = PathBuf::new();
        for part in from.join(path).components() {
            match part {
                Component::ParentDir => assert!(clean.pop(), "{file} includes {path}, outside"),
                part => clean.push(part),
            }
        }
        found.push(clean.to_string_lossy().into_owned());
    }
    found
}

#[test]
fn packages_hold_sources_and_licences_and_no_tests() {
    for (name, dir) in CRATES {
        let files = packaged(name);
        let unwanted: Vec<_> = files.iter().filter(|file| !is_wanted(file)).collect();
        assert!(unwanted.is_empty(), "{name} would publish {unwanted:?}");
        let sources = files.iter().filter(|file| file.starts_with("src/"));
        assert!(sources.count() > 1, "{name} has its sources");
        for needed in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(files.contains(needed), "{name} would lack {needed}");
        }
        // A link to the licence of the workspace is one file with it.
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let text = |dir: &str| fs::read(root().join(dir).join(licence)).unwrap();
            assert_eq!(text(dir), text("."), "{name}: {licence}");
        }
    }
    for bad in [
        "tests/crash.rs",
        "tests/golden/v1/LOG",
        "benches/log.rs",
        "fuzz/seeds/a.hex",
        "src/saved.txt",
    ] {
        assert!(!is_wanted(bad), "{bad}");
    }
}

#[test]
fn packages_hold_what_their_sources_include() {
    let mut seen = 0;
    for (name, dir) in CRATES {
        let files = packaged(name);
        for file in files.iter().filter(|file| file.ends_with(".rs")) {
            let text = fs::read_to_string(root().join(dir).join(file)).unwrap();
            for path in included(file, &text) {
                let is_there = files
                    .iter()
                    .any(|f| *f == path || f.starts_with(&format!("{path}/")));
                assert!(
                    is_there,
                    "{name}: {file} includes {path}, which is not published"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 4, "READMEs and guide are included: {seen}");
}

/// What a registry shows and searches. Its limits: five keywords of 20 letters, five categories.
#[test]
fn manifests_say_what_a_registry_shows() {
    for (name, dir) in CRATES {
        let manifest = fs::read_to_string(root().join(dir).join("Cargo.toml")).unwrap();
        let line = |key: &str| {
            let mut lines = manifest.lines();
            let found = lines.find_map(|line| line.strip_prefix(&format!("{key} = ")));
            found.unwrap_or_else(|| panic!("{name} has no {key}"))
        };
        let list = |key| -> Vec<String> {
            let items = line(key).trim_matches(['[', ']']).split(", ");
            items
                .map(|item| item.trim_matches('"').to_owned())
                .collect()
        };
        assert_eq!(line("documentation"), format!("\"https://docs.rs/{name}\""));
        assert_eq!(line("readme"), "\"README.md\"");
        assert!(line("description").len() > 20, "{name}");
        assert!(manifest.contains("\nlicense.workspace = true\n"), "{name}");
        let keywords = list("keywords");
        assert!((1..=5).contains(&keywords.len()), "{name}: {keywords:?}");
        for keyword in &keywords {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_+".contains(c);
            assert!(
                keyword.len() <= 20 && keyword.chars().all(plain),
                "{keyword}"
            );
        }
        // Those of https://crates.io/category_slugs that the crates use.
        let known = [
            "command-line-utilities",
            "concurrency",
            "data-structures",
            "database-implementations",
            "development-tools::testing",
            "filesystem",
            "network-programming",
        ];
        let categories = list("categories");
        assert!(
            (1..=5).contains(&categories.len()),
            "{name}: {categories:?}"
        );
        for category in &categories {
            assert!(known.contains(&category.as_str()), "{name}: {category}");
        }
    }
}
