//! `highwater run`: exit codes, restarts, and SIGTERM.
#![allow(
    clippy::disallowed_methods,
    reason = "test code, with files of its own"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn highwater(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.arg("run").args(arguments);
    command
}

fn ended(arguments: &[&str]) -> Output {
    highwater(arguments).output().unwrap()
}

#[test]
fn the_exit_code_is_that_of_the_program() {
    assert_eq!(ended(&["--", "true"]).status.code(), Some(0));
    assert_eq!(ended(&["--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    let killed = ended(&["--", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(killed.status.code(), Some(128 + 9));
    let missing = ended(&["--", "/no/such/program"]);
    assert_eq!(missing.status.code(), Some(3));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(said.contains("/no/such/program cannot be run"), "{said}");
    assert_eq!(ended(&["--supervise"]).status.code(), Some(2));
    assert_eq!(
        ended(&["--pause-ms", "1", "--", "true"]).status.code(),
        Some(2)
    );
}

/// A program that notes each run, and ends well at the third.
fn counting(dir: &std::path::Path, last: &str) -> String {
    let runs = dir.join("runs").display().to_string();
    format!("echo run >> {runs}; [ $(wc -l < {runs}) -ge {last} ] || exit 5")
}

#[test]
fn a_program_that_fails_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let script = counting(dir.path(), "3");
    let out = ended(&["--supervise", "--pause-ms", "1", "--", "sh", "-c", &script]);
    assert_eq!(out.status.code(), Some(0));
    let runs = std::fs::read_to_string(dir.path().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 3);
}

#[test]
fn it_is_given_up_after_so_many_failures() {
    let dir = tempfile::tempdir().unwrap();
    let script = counting(dir.path(), "100");
    let few = ["--supervise", "--pause-ms", "1", "--max-failures", "4"];
    let out = ended(&[&few[..], &["--", "sh", "-c", &script]].concat());
    assert_eq!(out.status.code(), Some(5));
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.contains("exit status: 5"), "{said}");
    let runs = std::fs::read_to_string(dir.path().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 4);
}

#[test]
fn sigterm_reaches_the_program_which_is_not_started_again() {
    let script = "trap 'kill $!; echo ending; exit 9' TERM; echo ready; sleep 1000 & wait $!";
    let mut child = highwater(&["--supervise", "--pause-ms", "1", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(lines.next().unwrap().unwrap(), "ending");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}
