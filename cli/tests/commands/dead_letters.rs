//! `highwater dead-letters`, on a program that runs and on one that does not.

use highwater::{BatchMode, ErrorPolicy, StopMode, StreamingContext};
use parking_lot::Mutex;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(args)
        .output()
        .unwrap()
}

fn text(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&text(args)).unwrap()
}

fn open(dir: &Path, broken: &Arc<AtomicBool>, seen: &Arc<Mutex<Vec<u64>>>) -> StreamingContext {
    let (broken, seen) = (Arc::clone(broken), Arc::clone(seen));
    let context = StreamingContext::builder(dir)
        .batches(BatchMode::Manual)
        .get_or_create(move |ssc| {
            let lines = ssc
                .input::<String>("lines")
                .on_error(ErrorPolicy::DeadLetter);
            let numbers = lines.try_map(move |line| match broken.load(Ordering::Relaxed) {
                true => line.parse::<u64>().map_err(|e| e.to_string()),
                false => Ok(line.len() as u64),
            });
            numbers
                .named("parse")
                .for_each_batch("out", move |_, numbers: Vec<u64>| {
                    seen.lock().extend(numbers);
                });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    context
}

#[test]
fn letters_are_listed_shown_and_replayed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("app");
    let path = dir.to_str().unwrap();
    let (broken, seen) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let context = open(&dir, &broken, &seen);
    assert!(text(&["dead-letters", "list", path]).contains("no dead letters"));
    for line in ["12", "x", "4y"] {
        let input = context.input::<String>("lines").unwrap();
        input.send(&line.to_owned()).unwrap().wait().unwrap();
    }
    context.run_batch().unwrap();
    assert_eq!(*seen.lock(), [12]);

    // On the program as it runs.
    let listed = json(&["dead-letters", "list", path, "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("parse/"), "{id}");
    let table = text(&["dead-letters", "list", path]);
    assert!(
        table.contains(&id) && table.contains("invalid digit"),
        "{table}"
    );
    let shown = json(&["dead-letters", "show", path, "--id", &id, "--json"]);
    assert_eq!(
        (&shown["record"], &shown["attempts"]),
        (&"x".into(), &1.into())
    );
    assert_eq!(
        (&shown["operator"], &shown["batch"]),
        (&"parse".into(), &1.into())
    );
    let shown = text(&["dead-letters", "show", path, "--operator", "parse"]);
    assert!(
        shown.contains("\"x\"") && shown.contains("\"4y\""),
        "{shown}"
    );
    broken.store(false, Ordering::Relaxed);
    let asked = json(&["dead-letters", "replay", path, "--id", &id, "--json"]);
    assert_eq!(asked["requested"], 1);
    context.run_batch().unwrap();
    assert_eq!(*seen.lock(), [12, 1]);

    // On one that does not.
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let asked = text(&["dead-letters", "replay", path]);
    assert!(
        asked.starts_with("1 dead letters are to be replayed"),
        "{asked}"
    );
    text(&["dead-letters", "replay", path]);
    let context = open(&dir, &broken, &seen);
    context.run_batch().unwrap();
    context.run_batch().unwrap();
    assert_eq!(*seen.lock(), [12, 1, 2]);
    let asked = text(&["dead-letters", "replay", path]);
    assert!(asked.contains("nothing to replay"), "{asked}");
}

#[test]
fn what_is_no_engines_directory_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    for command in ["list", "show", "replay"] {
        let output = run(&["dead-letters", command, temp.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("has no log in it"), "{message}");
    }
    assert_eq!(temp.path().read_dir().unwrap().count(), 0);
}
