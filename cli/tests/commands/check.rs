//! `highwater checkpoint check`: a program says what it would do with a directory.

use crate::common;
use crate::common::{paths, run, run_in, write};
use crate::program::open;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

const HIGHWATER: &str = env!("CARGO_BIN_EXE_highwater");

/// The child of the demo is the program.
fn check(dir: &Path, more: &[&str]) -> common::Ran {
    let dir = dir.to_str().unwrap();
    let command = ["checkpoint", "check", dir, "--program", HIGHWATER];
    let child = ["--", "demo-child", "--dir", "elsewhere", "--workers", "1"];
    run(command.iter().chain(more).chain(&child))
}

#[test]
fn a_program_that_fits_says_what_it_restores() {
    let tmp = TempDir::new().unwrap();
    let text: String = (0..200)
        .map(|n| format!("line {n} of {}\n", n % 7))
        .collect();
    let (file, demo_dir) = (tmp.path().join("text.txt"), tmp.path().join("demo.d"));
    write(&file, text.as_bytes());
    let demo = [
        "demo",
        file.to_str().unwrap(),
        "--kills",
        "1",
        "--rounds",
        "10",
        "--rate",
        "10000",
        "--dir",
        demo_dir.to_str().unwrap(),
    ];
    run_in(tmp.path(), demo).exits(0);
    let dir = demo_dir.join("engine");
    let before = paths(&dir);
    let ran = check(&dir, &[]).exits(0);
    for line in [
        "from checkpoint ",
        "\n0 batches and ",
        "state \"counts\": ",
        "source \"lines-in\": 0 records to replay",
        "setting workers: 1, was 2",
        "the program fits",
    ] {
        assert!(ran.out.contains(line), "{line:?} in\n{}", ran.out);
    }
    let ran = check(&dir, &["--json"]).exits(0);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    let states = answer["fits"]["states"].as_array().unwrap();
    assert_eq!(states[0]["name"], "counts");
    assert!(states[0]["keys"].as_u64().unwrap() > 200);
    assert_eq!(paths(&dir), before, "nothing was changed");
    assert!(!Path::new("elsewhere").exists(), "nothing was made");
    // Of a directory that is not there it says that all begins anew.
    let ran = check(tmp.path(), &[]).exits(0);
    assert!(ran.out.starts_with("without a checkpoint\n"), "{}", ran.out);
}

#[test]
fn a_program_that_does_not_fit_says_why() {
    let tmp = TempDir::new().unwrap();
    let context = open(tmp.path(), 1, true).unwrap();
    context.start().unwrap();
    context.run_batch().unwrap();
    // It still runs, and nothing is locked.
    let ran = check(tmp.path(), &[]).exits(1);
    assert!(ran.out.contains("would be REFUSED"), "{}", ran.out);
    assert!(ran.out.contains(".application(\"shapes\")"), "{}", ran.out);
    let ran = check(tmp.path(), &["--json"]).exits(1);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(answer["refused"].as_str().unwrap().contains("shapes"));
}

#[test]
fn a_program_that_does_not_answer_is_named() {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().to_str().unwrap();
    let asked = |program: &[&str]| {
        let command = ["checkpoint", "check", dir, "--program"];
        run(command.iter().chain(program))
    };
    let ran = asked(&["false"]).exits(3);
    assert!(
        ran.err
            .contains("ended with exit status: 1 and has not answered"),
        "{}",
        ran.err
    );
    let ran = asked(&["tail", "--timeout", "1", "--", "-f", "/dev/null"]).exits(3);
    assert!(ran.err.contains("was ended after 1 s"), "{}", ran.err);
    let ran = asked(&["/no/such/program"]).exits(3);
    assert!(
        ran.err.contains("/no/such/program cannot be run"),
        "{}",
        ran.err
    );
    asked(&[]).exits(2);
}
