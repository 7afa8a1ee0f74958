//! Relative paths are resolved when they are named: a program that changes its working directory
//! later, as daemons do, goes on where it was. The working directory belongs to the process, so
//! each test runs in a child of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests look at real directories"
)]

mod common;

use common::Collected;
use highwater_connectors::{Outputs, Sources};
use highwater_engine::{StopMode, StreamingContext, wal};
use std::env::set_current_dir;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const HOME: &str = "HIGHWATER_TEST_HOME";

/// Runs `test`, of the name `name`, in a process of its own, in an empty directory.
fn in_a_child(name: &str, test: impl FnOnce(&Path)) {
    if let Some(base) = std::env::var_os(HOME) {
        return test(&home(PathBuf::from(base)));
    }
    let home = tempfile::tempdir().unwrap();
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HOME, home.path())
        .output()
        .unwrap();
    let shown =
        String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && shown.contains("1 passed"),
        "{shown}"
    );
}

/// The directory of a child; it works in `home` of it.
fn home(base: PathBuf) -> PathBuf {
    fs::create_dir_all(base.join("home")).unwrap();
    fs::create_dir_all(base.join("other")).unwrap();
    set_current_dir(base.join("home")).unwrap();
    base
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|n| n.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_later_change_of_the_working_directory_changes_nothing() {
    in_a_child(
        "a_later_change_of_the_working_directory_changes_nothing",
        goes_on_where_it_was,
    );
}

fn goes_on_where_it_was(base: &Path) {
    let (home, other) = (base.join("home"), base.join("other"));
    for dir in ["in", "moving"] {
        fs::create_dir_all(dir).unwrap();
    }
    // What lies in the other place is not touched, read or taken for ours.
    for dir in ["app/log", "in", "out"] {
        fs::create_dir_all(other.join(dir)).unwrap();
    }
    fs::write(other.join("in/decoy"), "decoy\n").unwrap();
    let collected = Collected::default();
    let builder = StreamingContext::builder("app")
        .log(wal::Options::new().segment_size(64 << 10))
        .batch_interval(Duration::from_millis(5));
    set_current_dir(&other).unwrap();
    set_current_dir(&home).unwrap();
    let collect = collected.clone();
    let context = builder
        .get_or_create(|ssc| {
            let lines = ssc.text_file_stream("files", "in");
            lines.save_as_text_files("o", "out/part");
            lines.for_each_batch("collect", move |batch, lines| {
                collect.put_lines(batch.id, lines)
            });
            set_current_dir(&other)?;
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    for file in 0..4 {
        // Each file is larger than a segment, so the log goes on in new files.
        let text = format!("{}\n", "x".repeat(999)).repeat(100);
        fs::write(home.join("moving/f"), text).unwrap();
        fs::rename(home.join("moving/f"), home.join(format!("in/{file}"))).unwrap();
        collected.wait_for(100 * (file + 1));
    }
    context.stop(StopMode::Graceful).unwrap();
    assert!(collected.lines().iter().all(|line| line.len() == 999));
    let written = names(&home.join("out"));
    let written = written.iter().filter(|name| !name.starts_with('.'));
    let text: String = written
        .map(|name| fs::read_to_string(home.join("out").join(name)).unwrap())
        .collect();
    assert_eq!(text.lines().count(), 400);
    assert_eq!(names(&home.join("app")), ["checkpoints", "log"]);
    assert_eq!(names(&other), ["app", "in", "out"]);
    assert_eq!(names(&other.join("app/log")), [""; 0]);
    assert_eq!(names(&other.join("out")), [""; 0]);
}

#[test]
fn a_relative_path_without_a_working_directory_is_an_error_that_names_it() {
    in_a_child(
        "a_relative_path_without_a_working_directory_is_an_error_that_names_it",
        has_no_working_directory,
    );
}

fn has_no_working_directory(base: &Path) {
    let gone = base.join("gone");
    fs::create_dir(&gone).unwrap();
    set_current_dir(&gone).unwrap();
    fs::remove_dir(&gone).unwrap();
    let open = |dir: &Path, prefix: &Path, watched: &Path| {
        let context = StreamingContext::builder(dir)
            .log(wal::Options::new().segment_size(256 << 10))
            .get_or_create(|ssc| {
                ssc.text_file_stream("files", watched)
                    .save_as_text_files("o", prefix);
                Ok(())
            })?;
        context.start().map(|_| ())
    };
    let (app, out, watched) = (base.join("app"), base.join("out/x"), base.join("home"));
    for (dir, prefix, watched, named) in [
        (Path::new("app"), &*out, &*watched, "\"app\""),
        (&app, Path::new("out/y"), &watched, "\"out\""),
        (&app, &out, Path::new("in"), "\"in\""),
    ] {
        let error = open(dir, prefix, watched).unwrap_err().to_string();
        for part in [named, "working directory", "absolute path"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
    open(&app, &out, &watched).unwrap();
}
