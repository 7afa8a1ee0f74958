//! The tools tell the truth about directories that are not what they should be, and about texts
//! that look like others.

use crate::common::{Ran, paths, run, write};
use highwater::BatchMode;
use highwater::disk::{Disk, OsDisk};
use highwater::prelude::*;
use highwater::wal::{Lsn, Options, Wal};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const TRICKS: &str = "a\u{202e}b\u{2066}c\u{200f}d\u{61c}e\u{200b}f\u{9b}g\u{feff}h";
const SHOWN: &str = "a\\u{202e}b\\u{2066}c\\u{200f}d\\u{61c}e\\u{200b}f\\u{9b}g\\u{feff}h";

/// A name may not hold control characters.
const NAME: &str = "a\u{202e}b\u{2066}c\u{200f}d\u{61c}e\u{200b}f\u{feff}g";

/// An engine's directory whose log was truncated, with texts that play tricks on a reader in keys,
/// names and records.
fn engine() -> (TempDir, PathBuf) {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("engine");
    let context = StreamingContext::builder(&dir)
        .application(&format!("app {NAME}"))
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(1))
        .log(Options::new().segment_size(16 << 10))
        .get_or_create(|ssc| {
            ssc.input::<String>("in")
                .map(|line| (line, 1_u64))
                .update_state_by_key(
                    &format!("state {NAME}"),
                    |_, new, total: &mut Option<u64>| {
                        *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                    },
                )
                .print();
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let input = context.input::<String>("in").unwrap();
    for n in 0..6 {
        input
            .send(&format!("{TRICKS} {n}"))
            .unwrap()
            .wait()
            .unwrap();
        input.send(&"x".repeat(11 << 10)).unwrap().wait().unwrap();
        context.run_batch().unwrap();
    }
    input.send(&TRICKS.to_owned()).unwrap().wait().unwrap();
    context.run_batch().unwrap();
    assert!(context.log().first_lsn() > Lsn::ZERO);
    context.stop(StopMode::Graceful).unwrap();
    (tmp, dir)
}

fn tool(words: &[&str], dir: &Path, more: &[&str]) -> Ran {
    let dir = dir.to_str().unwrap();
    run(words
        .iter()
        .copied()
        .chain([dir])
        .chain(more.iter().copied()))
}

/// Case 12 a: "recovery reads the whole log", exit code 0, of a directory that would not start.
#[test]
fn an_engine_whose_checkpoints_are_gone_is_a_finding() {
    let (tmp, dir) = engine();
    for words in [["log", "list"], ["log", "verify"], ["checkpoint", "list"]] {
        tool(&words, &dir, &[]).exits(0);
    }
    let disk = OsDisk::new();
    let checkpoints = dir.join("checkpoints");
    let away = tmp.path().join("away");
    for gone in ["directory", "files"] {
        disk.rename(&checkpoints, &away).unwrap();
        if gone == "files" {
            disk.create_dir_all(&checkpoints).unwrap();
        }
        let refusal = "the log begins only at LSN";
        for words in [["log", "list"], ["log", "verify"], ["checkpoint", "list"]] {
            let ran = tool(&words, &dir, &[]).exits(1);
            assert!(
                ran.out.contains(refusal) && ran.out.contains("refuse"),
                "{}",
                ran.out
            );
            let json = tool(&words, &dir, &["--json"]).exits(1);
            assert!(
                json.out.contains(refusal) || json.err.contains(refusal),
                "{json:?}"
            );
        }
        let ran = tool(&["log", "list"], &dir.join("log"), &[]).exits(1);
        assert!(ran.out.contains(refusal), "{}", ran.out);
        let ran = tool(&["checkpoint", "show"], &dir, &[]).exits(1);
        assert!(ran.err.contains(refusal), "{}", ran.err);
        if gone == "files" {
            let ran = tool(&["checkpoint", "list"], &checkpoints, &[]).exits(1);
            assert!(ran.out.contains(refusal), "{}", ran.out);
        }
        // It is the truth: a start refuses.
        let started = StreamingContext::builder(&dir).get_or_create(|ssc| {
            ssc.input::<String>("in").print();
            Ok(())
        });
        assert!(started.is_err(), "{gone}");
        if gone == "directory" {
            let _ = paths(&dir);
        }
        for path in if checkpoints.exists() {
            paths(&checkpoints)
        } else {
            Vec::new()
        } {
            disk.remove_file(&path).unwrap();
        }
        if checkpoints.exists() {
            disk.rename(&checkpoints, &tmp.path().join("empty"))
                .unwrap();
        }
        disk.rename(&away, &checkpoints).unwrap();
    }
}

/// A log without an engine is truncated without checkpoints, and that is right.
#[test]
fn a_truncated_log_of_another_program_is_no_finding() {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("log");
    let log = Wal::open_with(&dir, Options::new().segment_size(16 << 10)).unwrap();
    for n in 0..60 {
        let _ = log
            .append_control(highwater::wal::StreamId(0), [n; 900])
            .unwrap();
    }
    log.sync().unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    log.close().unwrap();
    for words in [["log", "list"], ["log", "verify"]] {
        tool(&words, &dir, &[]).exits(0);
        tool(&words, tmp.path(), &[]).exits(0);
    }
}

/// Case 12 b: an empty or wrong directory had no checkpoints, exit code 0.
#[test]
fn a_directory_that_is_no_engines_is_an_error() {
    let tmp = TempDir::new().unwrap();
    let empty = tmp.path().join("empty");
    let wrong = tmp.path().join("wrong");
    for dir in [&empty, &wrong] {
        OsDisk::new().create_dir_all(dir).unwrap();
    }
    write(&wrong.join("notes.txt"), b"not ours");
    write(&tmp.path().join("file"), b"no directory");
    for place in ["empty", "wrong", "missing", "file"] {
        let dir = tmp.path().join(place);
        for words in [
            ["checkpoint", "list"],
            ["checkpoint", "show"],
            ["checkpoint", "verify"],
            ["checkpoint", "prune"],
            ["log", "list"],
            ["log", "dump"],
            ["log", "stats"],
            ["log", "verify"],
        ] {
            let ran = tool(&words, &dir, &[]).exits(3);
            assert!(ran.err.contains(place), "{words:?} {place}: {}", ran.err);
            assert_eq!(ran.out, "", "{words:?} {place}");
        }
        let output = tmp.path().join("output");
        for what in ["repair", "salvage"] {
            let more = ["--output", output.to_str().unwrap()];
            let code = tool(&["log", what], &dir, &more).code;
            assert!(matches!(code, Some(2 | 3)), "{what} {place}: {code:?}");
            assert!(!output.exists(), "{what} {place}");
        }
    }
    // An engine that has no checkpoint yet is right.
    let dir = tmp.path().join("young");
    let context = StreamingContext::builder(&dir).batches(BatchMode::Manual);
    let context = context.get_or_create(|ssc| {
        ssc.input::<String>("in").print();
        Ok(())
    });
    drop(context.unwrap());
    let ran = tool(&["checkpoint", "list"], &dir, &[]).exits(0);
    assert!(
        ran.out.contains("recovery reads the whole log"),
        "{}",
        ran.out
    );
}

/// Case 12 c: what turns the direction of text, or cannot be seen, is escaped in every text for
/// people.
#[test]
fn hidden_characters_are_escaped_in_texts_for_people() {
    let (tmp, dir) = engine();
    let state = format!("state {NAME}");
    let junk = dir.join("log").join(format!("junk {TRICKS}"));
    write(&junk, b"");
    let outputs = [
        tool(&["checkpoint", "show"], &dir, &[]),
        tool(&["checkpoint", "state"], &dir, &[&state]),
        tool(&["log", "dump"], &dir, &["--payload", "text"]),
        tool(&["log", "verify"], &dir, &[]),
        tool(&["checkpoint", "state"], &dir, &[TRICKS]),
        tool(&["log", "list"], &tmp.path().join(TRICKS), &[]),
    ];
    for (index, ran) in outputs.into_iter().enumerate() {
        let text = format!("{}{}", ran.out, ran.err);
        let shown = if index == 0 {
            NAME.escape_default().to_string()
        } else {
            SHOWN.to_owned()
        };
        assert!(text.contains(&shown), "{index}: {text}");
        let hidden = TRICKS.chars().filter(|c| !c.is_ascii());
        for c in hidden {
            assert!(!text.contains(c), "{index}: {c:?} in {text}");
        }
    }
    // For programs it stays what it is.
    let json = tool(
        &["checkpoint", "state"],
        &dir,
        &[&state, "--format", "json"],
    )
    .exits(0);
    assert!(json.out.contains(TRICKS));
}

/// Case 12 d: an empty range printed nothing, exit code 0.
#[test]
fn an_empty_range_is_a_usage_error() {
    let (_tmp, dir) = engine();
    for (from, to) in [
        ("4200", "100"),
        ("4200", "4200"),
        ("0", "0"),
        ("18446744073709551615", "1"),
    ] {
        for follow in [&[][..], &["--follow"]] {
            let args = [&["--from", from, "--to", to], follow].concat();
            let ran = tool(&["log", "dump"], &dir, &args).exits(2);
            let what = format!("--to {to} is not after --from {from}: the range is empty");
            assert!(ran.err.contains(&what), "{}", ran.err);
        }
    }
}

/// Every option that takes a number, with numbers at the ends and beyond: taken, or refused by
/// name; never a panic (101) and never an abort (no code).
#[test]
fn every_number_is_taken_or_refused_by_name() {
    let (tmp, dir) = engine();
    let dir = dir.to_str().unwrap();
    let place = tmp.path().to_str().unwrap();
    let values = [
        "0",
        "1",
        "-1",
        "65536",
        "4294967296",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "nan",
        "inf",
        "1e999",
        "",
    ];
    let fast: &[&str] = &["log", "bench", place, "--seconds", "0.01", "--threads", "1"];
    let table: [(&[&str], &str, bool); 14] = [
        (&["log", "dump", dir], "--from", true),
        (&["log", "dump", dir], "--to", true),
        (&["log", "dump", dir], "--limit", true),
        (&["log", "dump", dir], "--stream", true),
        (
            &["log", "dump", dir, "--decoder", "cat"],
            "--decoder-timeout",
            true,
        ),
        (&["checkpoint", "show", dir], "--number", true),
        (&["checkpoint", "prune", dir], "--keep", true),
        (&["checkpoint", "diff", dir, "1", "1"], "--limit", true),
        (&["checkpoint", "state", dir, "none"], "--limit", true),
        (fast, "--size", true),
        (
            &["log", "bench", place, "--seconds", "0.01"],
            "--threads",
            false,
        ),
        (
            &["log", "bench", place, "--threads", "1"],
            "--seconds",
            false,
        ),
        (&["demo", "/nowhere"], "--workers", true),
        (&["demo", "/nowhere"], "--rate", true),
    ];
    for (words, option, small) in table {
        for value in values {
            // Right, and longer than a test should take.
            if !small && value == "1" {
                continue;
            }
            let option_value = format!("{option}={value}");
            let ran = run(words.iter().copied().chain([option_value.as_str()]));
            let code = ran.code;
            assert!(
                matches!(code, Some(0..=3)),
                "{words:?} {option_value}: {ran:?}"
            );
            if ran.err.contains("error: invalid value") {
                assert_eq!(code, Some(2), "{option_value}");
                let named = ran.err.contains(option) && ran.err.contains("a number from");
                assert!(named, "{option_value}: {}", ran.err);
            }
        }
    }
    for demo in ["--kills", "--seed", "--rounds"] {
        for value in values {
            let ran = run(["demo", "/nowhere", &format!("{demo}={value}")]);
            assert!(matches!(ran.code, Some(2 | 3)), "{demo}={value}: {ran:?}");
        }
    }
    // What is refused says what is taken.
    for (words, option, range) in [
        (
            &["log", "bench", place][..],
            "--threads=18446744073709551615",
            "from 1 to 1024 is",
        ),
        (&["log", "bench", place], "--threads=0", "from 1 to 1024 is"),
        (
            &["log", "bench", place],
            "--size=1048577",
            "from 0 to 1048576 is",
        ),
        (
            &["log", "bench", place],
            "--seconds=3601",
            "from 0.01 to 3600 is",
        ),
        (&["demo"], "--workers=129", "from 1 to 128 is"),
        (&["demo"], "--rate=0", "from 1 to 1000000000 is"),
        (
            &["demo"],
            "--rounds=18446744073709551615",
            "from 1 to 1000000000 is",
        ),
        (&["demo"], "--kills=101", "from 1 to 100 is"),
        (
            &["log", "dump", dir, "--decoder=cat"],
            "--decoder-timeout=0",
            "from 1 to 86400 is",
        ),
    ] {
        let ran = run(words.iter().copied().chain([option])).exits(2);
        assert!(ran.err.contains(range), "{option}: {}", ran.err);
    }
}
