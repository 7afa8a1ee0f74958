//! `highwater replay`: a program over the log of a directory, and what differs.

use crate::common;
use crate::common::{paths, run, run_in, write};
use highwater::disk::{Access, Disk, OsDisk};
use highwater::prelude::*;
use highwater::wal::{Background, Options};
use highwater::{BatchMode, Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const HIGHWATER: &str = env!("CARGO_BIN_EXE_highwater");

/// Words, each counted so many times.
fn open(dir: &Path, times: u64) -> Result<StreamingContext> {
    // Without threads of its own the log stays as it is between two calls.
    let log = Options::new()
        .segment_size(1 << 20)
        .background(Background::Inline);
    StreamingContext::builder(dir)
        .application("words")
        .log(log)
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(2))
        .get_or_create(move |ssc| {
            let words = ssc.input::<String>("in").map(move |word| (word, times));
            words
                .update_state_by_key("counts", |_, new: &[u64], total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
                .for_each_batch("out", |_, _| ());
            Ok(())
        })
}

/// This test program is the program that is asked: each of these is one, where it is asked. Where
/// it is not, it starts as ever.
fn as_a_program(times: u64) {
    if std::env::var_os("HIGHWATER_REPLAY").is_some() {
        let asked = open(Path::new("/nowhere/at/all"), times);
        assert!(matches!(asked, Err(Error::Replayed(_))), "{asked:?}");
    } else {
        let tmp = TempDir::new().unwrap();
        let context = open(tmp.path(), times).unwrap();
        context.start().unwrap();
        assert_eq!(context.run_batch().unwrap().id, 1);
    }
}

#[test]
fn program_that_is_unchanged() {
    as_a_program(1);
}

#[test]
fn program_that_counts_twice() {
    as_a_program(2);
}

/// Every file in a directory.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for inner in paths(dir).iter().flat_map(|inner| paths(inner)) {
        let file = OsDisk::new().open(&inner, Access::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        all.push((inner, bytes));
    }
    all
}

fn replay(dir: &Path, new: &Path, program: &str, more: &[&str]) -> common::Ran {
    let exe = std::env::current_exe().unwrap();
    let [dir, new, exe] = [dir, new, &exe].map(|path| path.to_str().unwrap());
    let command = ["replay", dir, "--into", new, "--program", exe];
    let program = format!("replay::{program}");
    let program = ["--", "--exact", &*program];
    run(command.iter().chain(more).chain(&program))
}

#[test]
fn a_directory_in_use_is_replayed_and_compared() {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("engine");
    let context = open(&dir, 1).unwrap();
    context.start().unwrap();
    let input = context.input::<String>("in").unwrap();
    for n in 0..5 {
        for word in ["to", "be", &format!("word{n}")] {
            input.send(&word.to_owned()).unwrap().wait().unwrap();
        }
        context.run_batch().unwrap();
    }
    let before = files(&dir);
    let new = |name: &str| tmp.path().join(name);
    let ran = replay(&dir, &new("same"), "program_that_is_unchanged", &[]).exits(0);
    for line in [
        "replayed 2 batches from checkpoint 1, after batch 2\n",
        "same/before: batch 4,",
        "same/checkpoints: batch 4,",
        "\nthe states are equal\n",
    ] {
        assert!(ran.out.contains(line), "{line:?} in\n{}", ran.out);
    }
    let twice = "program_that_counts_twice";
    let all = ["--from", "lsn:0"];
    let ran = replay(&dir, &new("twice"), twice, &all).exits(1);
    for line in [
        "replayed 4 batches from the beginning of the log\n",
        "~ \"to\"\t4 -> 8\n",
        "~ \"word3\"\t1 -> 2\n",
        "\nthe states DIFFER\n",
    ] {
        assert!(ran.out.contains(line), "{line:?} in\n{}", ran.out);
    }
    let json = ["--json", "--from", "1", "--limit", "1"];
    let ran = replay(&dir, &new("json"), twice, &json).exits(1);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["replayed"]["from"], serde_json::json!([1, 2]));
    let states = report["compared"]["states"].as_array().unwrap();
    let counts = states.iter().find(|state| state["name"] == "counts");
    let counts = counts.unwrap();
    assert_eq!(
        (&counts["changed"], &counts["same"]),
        (&4.into(), &2.into())
    );
    assert_eq!(counts["keys"].as_array().unwrap().len(), 1);
    assert!(files(&dir) == before, "the directory is only read");
    // What it has made can be looked at.
    let made = new("twice");
    let made = made.to_str().unwrap();
    let state = run(["checkpoint", "state", made, "counts", "--key", "to"]).exits(0);
    assert!(state.out.contains('8'), "{}", state.out);
    run(["log", "verify", made]).exits(0);
}

#[test]
fn what_cannot_be_replayed_says_why() {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("engine");
    let context = open(&dir, 1).unwrap();
    context.start().unwrap();
    for _ in 0..4 {
        context.run_batch().unwrap();
    }
    let new = tmp.path().join("new");
    let program = "program_that_is_unchanged";
    let says = |ran: common::Ran, what: &str| {
        let ran = ran.exits(3);
        assert!(ran.err.contains(what), "{what:?} in\n{}", ran.err);
    };
    let from = |place: &str| replay(&dir, &new, program, &["--from", place]);
    says(from("99"), "there is no checkpoint 99");
    says(from("2"), "no batch lies between");
    from("newest").exits(2);
    says(replay(&dir, &dir, program, &[]), "must lie outside");
    says(replay(&dir, tmp.path(), program, &[]), "must lie outside");
    let taken = TempDir::new().unwrap();
    write(&taken.path().join("file"), b"there");
    says(replay(&dir, taken.path(), program, &[]), "is not empty");
    says(replay(taken.path(), &new, program, &[]), "log");
    // Another application, by the child of the demo.
    let [from, into] = [&dir, &new].map(|path| path.to_str().unwrap());
    let other = ["replay", from, "--into", into, "--program", HIGHWATER];
    let child = ["--", "demo-child", "--dir", "elsewhere", "--workers", "1"];
    says(run(other.iter().chain(&child)), "application");
    // A program that never comes to the point.
    says(
        replay(&dir, &new, "no_such_program", &[]),
        "has not answered",
    );
}

#[test]
fn the_demo_replayed_by_its_own_program_is_equal() {
    let tmp = TempDir::new().unwrap();
    let text: String = (0..200)
        .map(|n| format!("line {n} of {}\n", n % 7))
        .collect();
    let (file, demo_dir) = (tmp.path().join("text.txt"), tmp.path().join("demo.d"));
    write(&file, text.as_bytes());
    let [text, demo] = [&file, &demo_dir].map(|path| path.to_str().unwrap());
    let demo = [
        "demo", text, "--kills", "1", "--rounds", "10", "--rate", "10000", "--dir", demo,
    ];
    run_in(tmp.path(), demo).exits(0);
    let dir = demo_dir.join("engine");
    let before = files(&dir);
    let new = tmp.path().join("new");
    let [from, into] = [&dir, &new].map(|path| path.to_str().unwrap());
    let begin = ["--from", "lsn:0"];
    let command = ["replay", from, "--into", into, "--program", HIGHWATER];
    let child = ["--", "demo-child", "--dir", "elsewhere", "--workers", "1"];
    let ran = run(command.iter().chain(&begin).chain(&child)).exits(0);
    assert!(ran.out.contains("the states are equal"), "{}", ran.out);
    assert!(files(&dir) == before, "the directory is only read");
    assert!(!Path::new("elsewhere").exists(), "nothing was made");
}
