//! The guide is whole: every chapter is in the book and in the crate's documentation (which runs
//! its programs), links lead somewhere, and it knows every operator and every setting.
#![expect(
    clippy::disallowed_methods,
    reason = "this test reads the source tree itself"
)]

use crate::operators::operators;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The chapters' files, by name.
fn chapters() -> BTreeSet<String> {
    let files = fs::read_dir(root().join("docs/guide/src")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "SUMMARY.md").collect()
}

/// What `text` has between each `open` and the next `close`.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let parts = text.split(open).skip(1);
    parts.filter_map(|part| part.split(close).next()).collect()
}

/// Names in the first column of a chapter's tables that are code.
fn first_column(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_start_matches('|').split('|').next().unwrap());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

/// The methods of a trait of the connectors: sources and outputs.
fn trait_methods(path: &str) -> BTreeSet<String> {
    let text = read(path);
    let declared = text.split("\nimpl").next().unwrap();
    let functions = declared.lines().map(str::trim);
    let names = functions.filter_map(|line| line.strip_prefix("fn "));
    names
        .map(|name| name.split(['(', '<']).next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_chapter_is_in_the_book_and_its_programs_run() {
    let chapters = chapters();
    assert!(chapters.len() >= 12, "{chapters:?}");
    let book = read("docs/guide/src/SUMMARY.md");
    let book: Vec<&str> = between(&book, "](", ")");
    let modules = read("src/guide.rs");
    let modules: Vec<&str> = between(modules.split("chapters! {").last().unwrap(), "\"", "\"");
    let modules: Vec<&str> = modules
        .into_iter()
        .filter(|name| name.ends_with(".md"))
        .collect();
    assert_eq!(book, modules, "the book and the crate have the same order");
    let listed: BTreeSet<String> = book.into_iter().map(str::to_owned).collect();
    assert_eq!(listed, chapters);
    for chapter in &chapters {
        let text = read(&format!("docs/guide/src/{chapter}"));
        for fence in text.lines().filter(|line| line.starts_with("```")) {
            let known = ["```", "```rust", "```sh"].contains(&fence);
            assert!(known, "{chapter}: a program that is not run: {fence}");
        }
        assert!(text.contains("```rust\n"), "{chapter} has no program");
    }
}

#[test]
fn every_link_of_the_guide_leads_somewhere() {
    let crate_links = read("src/guide.rs");
    for chapter in chapters() {
        let text = read(&format!("docs/guide/src/{chapter}"));
        let defined: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
            .collect();
        for (name, target) in &defined {
            let there = root().join("docs/guide/src").join(target).exists();
            assert!(there, "{chapter} links to {target}");
            let module = format!("[{name}]: crate::guide::{}", target.replace(".md", ""));
            assert!(crate_links.contains(&module), "src/guide.rs lacks {module}");
        }
        for used in between(&text, "][", "]") {
            // In code it is an index.
            let is_link = used.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let known = defined.iter().any(|(name, _)| *name == used);
            assert!(known || !is_link, "{chapter} uses [{used}], not defined");
        }
        for file in text.split('`').filter(|part| part.starts_with("docs/")) {
            assert!(root().join(file).exists(), "{chapter} names {file}");
        }
        for file in text.split('`').filter(|part| part.starts_with("examples/")) {
            assert!(root().join(file).exists(), "{chapter} names {file}");
        }
    }
}

#[test]
fn every_operator_has_its_place_and_its_program() {
    let text = read("docs/guide/src/operators.md");
    let (in_guide, in_code) = (first_column(&text), operators(&root()));
    let missing: Vec<_> = in_code.difference(&in_guide).collect();
    let unknown: Vec<_> = in_guide.difference(&in_code).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "the guide lacks {missing:?}; it has {unknown:?}, which the code does not have"
    );
    let programs = [
        text,
        read("docs/guide/src/sources.md"),
        read("docs/guide/src/outputs.md"),
    ];
    let programs: Vec<&str> = programs
        .iter()
        .flat_map(|text| between(text, "```rust\n", "```"))
        .collect();
    let programs = programs.concat();
    for operator in &in_code {
        let called = ["(", "::<"]
            .iter()
            .any(|open| programs.contains(&format!(".{operator}{open}")));
        assert!(called, "no program of the guide calls {operator}");
    }
}

#[test]
fn every_source_and_output_has_its_place() {
    for (file, chapter) in [
        ("connectors/src/sources.rs", "docs/guide/src/sources.md"),
        ("connectors/src/outputs.rs", "docs/guide/src/outputs.md"),
    ] {
        let (methods, text) = (trait_methods(file), read(chapter));
        assert!(methods.len() >= 3, "{methods:?}");
        for method in methods {
            // `print_n` stands with `print`, `socket_listen_with` with `socket_listen`.
            let short = method.trim_end_matches("_n").split("_with").next().unwrap();
            assert!(
                text.contains(&format!("`{short}")),
                "{chapter} lacks {method}"
            );
        }
    }
}

/// The guide adds what a sink declares; what follows from it is said in one way.
#[test]
fn the_guide_promises_what_the_guarantees_promise() {
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|').map(str::trim);
        cells.map(str::to_owned).collect::<Vec<_>>()
    };
    let table = |text: &str| {
        let (_, table) = text
            .split_once("process crash | power loss | disk lost |\n")
            .unwrap();
        let rows = table
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with('|'));
        rows.map(cells).collect::<Vec<_>>()
    };
    let promised = table(&read("docs/guarantees.md"));
    let guide = table(&read("docs/guide/src/outputs.md"));
    let mut kinds = BTreeSet::new();
    for mut row in guide {
        let kind = row.remove(1);
        assert!(
            promised.contains(&row),
            "docs/guarantees.md does not say {row:?}"
        );
        kinds.extend(kind.split('`').nth(1).map(str::to_owned));
    }
    let declared = ["AtLeastOnce", "Idempotent", "Transactional"].map(str::to_owned);
    assert_eq!(kinds, BTreeSet::from(declared));
}

#[test]
fn every_setting_is_in_the_chapter_on_tuning() {
    let code = read("engine/src/context/builder/build.rs")
        + &read("engine/src/context/builder/checkpoints.rs");
    let mut settings = BTreeSet::new();
    let mut hidden = false;
    for line in code.lines().map(str::trim) {
        hidden |= line == "#[doc(hidden)]";
        if let Some(function) = line.strip_prefix("pub fn ") {
            let name = function.split(['(', '<']).next().unwrap();
            if !hidden && name != "builder" {
                settings.insert(name.to_owned());
            }
            hidden = false;
        }
    }
    assert!(settings.len() > 20, "{settings:?}");
    let text = read("docs/guide/src/tuning.md");
    let named: BTreeSet<String> = text.split('`').map(str::to_owned).collect();
    let missing: Vec<_> = settings.difference(&named).collect();
    assert!(
        missing.is_empty(),
        "the chapter on tuning lacks {missing:?}"
    );
    let unknown = first_column(&text);
    for setting in unknown {
        assert!(settings.contains(&setting), "there is no setting {setting}");
    }
}

/// What `StreamingContext`, `DStream` and `PairDStreamFunctions` of Spark 3.5 have.
const SPARK: &str = "getOrCreate checkpoint socketTextStream textFileStream fileStream queueStream createDirectStream receiverStream union transform \
    start stop awaitTermination awaitTerminationOrTimeout remember addStreamingListener getState getActiveOrCreate \
    rawSocketStream binaryRecordsStream map filter flatMap glom mapPartitions repartition count reduce countByValue \
    transformWith cache persist slice window countByWindow countByValueAndWindow reduceByWindow print foreachRDD \
    saveAsTextFiles saveAsObjectFiles groupByKey reduceByKey combineByKey mapValues flatMapValues cogroup join \
    leftOuterJoin rightOuterJoin fullOuterJoin updateStateByKey mapWithState groupByKeyAndWindow reduceByKeyAndWindow \
    saveAsHadoopFiles saveAsNewAPIHadoopFiles";

#[test]
fn every_call_of_spark_has_its_counterpart() {
    let text = read("docs/guide/src/from-spark.md");
    let named = first_column(&text);
    for call in SPARK.split_whitespace() {
        let found = named
            .iter()
            .any(|name| name.split('.').next_back() == Some(call));
        assert!(found, "\"coming from Spark\" lacks {call}");
    }
    // What it says is here is in the documents of operators, sources and outputs, or of contexts.
    let code = [
        "engine/src/context/streaming_context.rs",
        "engine/src/context/builder/build.rs",
        "engine/src/context/builder/checkpoints.rs",
    ];
    let code = code.map(read).concat();
    let mut here = operators(&root());
    here.extend(trait_methods("connectors/src/sources.rs"));
    here.extend(trait_methods("connectors/src/outputs.rs"));
    let (_, table) = text.split_once("## Call by call").unwrap();
    let (table, _) = table.split_once("## State").unwrap();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let ours = row.split(" | ").nth(1).unwrap();
        for name in ours.split('`').skip(1).step_by(2) {
            let name = name.split("::").last().unwrap().split('(').next().unwrap();
            let is_type = name.starts_with(|c: char| c.is_ascii_uppercase());
            let known = here.contains(name) || code.contains(&format!("pub fn {name}"));
            assert!(known || is_type, "{name} is not in the code: {row}");
        }
    }
}

#[test]
fn examples_are_of_one_screen_and_the_guide_or_the_readme_names_them() {
    let documents = chapters().into_iter();
    let mut documents: Vec<String> = documents
        .map(|chapter| read(&format!("docs/guide/src/{chapter}")))
        .collect();
    documents.push(read("README.md"));
    documents.push(read("wal/README.md"));
    let documents = documents.concat();
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 60, "{name} has {lines} lines");
        assert!(
            documents.contains(&format!("`{name}`")),
            "no document names {name}"
        );
    }
}
