//! `highwater log`: what the command knows of engines beyond `highwater-log`, whose tests are in
//! its own package.

use crate::common::{damage, run};
use highwater::wal::{Options, StreamId, Wal};
use std::path::PathBuf;
use tempfile::TempDir;

/// A log with a control record, in the directory of an engine.
fn log() -> (TempDir, PathBuf) {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("log");
    let log = Wal::open_with(&dir, Options::new().segment_size(16 << 10)).unwrap();
    let control = [0x81, 0xa1, b'a', 7];
    let _ = log.append_control(StreamId(0), control).unwrap();
    let _ = log.append("text").unwrap();
    log.close().unwrap();
    (tmp, dir)
}

#[test]
fn the_log_of_an_engine_is_found_and_its_own_records_are_decoded() {
    let (tmp, _dir) = log();
    let dir = tmp.path().to_str().unwrap();
    let text = run(["log", "dump", dir, "--limit", "1"]).exits(0).out;
    assert!(
        text.contains("engine") && text.ends_with("{\"a\":7}\n"),
        "{text}"
    );
}

/// A command that is told to be typed is one of this program.
#[test]
fn advice_names_the_commands_of_this_program() {
    let (_tmp, dir) = log();
    damage(&dir.join("LOG"), 30);
    let ran = run(["log", "list", dir.to_str().unwrap()]).exits(1);
    assert!(ran.err.contains("`highwater log repair"), "{}", ran.err);
    assert!(ran.err.starts_with("highwater: "), "{}", ran.err);
}

#[test]
fn every_shell_gets_completions_of_all_commands() {
    let help = run(["--help"]).exits(0).out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| line.starts_with("  "));
    let commands: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(
        commands.len() > 7 && commands.contains(&"log"),
        "{commands:?}"
    );
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completions", shell]).exits(0).out;
        for command in commands.iter().chain(&["salvage", "lineage"]) {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    run(["log"]).exits(2);
    run(["log", "list"]).exits(2);
    run(["frobnicate"]).exits(2);
    assert!(run(["--help"]).exits(0).out.contains("Exit codes"));
    assert!(run(["--version"]).exits(0).out.starts_with("highwater "));
}
