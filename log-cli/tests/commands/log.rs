//! `highwater-log` on logs made with the library.

use crate::common::{command, damage, run, write};
use highwater_wal::{Options, StreamId, Wal};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

const RECORDS: u64 = 600;

/// A log of several segments: a control record, a batch, many records, one that is not UTF-8.
fn log() -> (TempDir, PathBuf) {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("log");
    let log = open(&dir);
    let _ = log
        .append_control(StreamId(0), [0x81, 0xa1, b'a', 7])
        .unwrap();
    let _ = log
        .append_batch_to(StreamId(3), ["first", "sec\tond"])
        .unwrap();
    for number in 0..RECORDS {
        let _ = log.append(format!("record {number:>50}")).unwrap();
    }
    let _ = log.append([0xff, 0x00]).unwrap();
    log.close().unwrap();
    (tmp, dir)
}

fn open(dir: &Path) -> Wal {
    Wal::open_with(dir, Options::new().segment_size(16 << 10)).unwrap()
}

fn args<'a>(what: &'a str, dir: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [what, dir.to_str().unwrap()]
        .into_iter()
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn list_shows_every_segment_and_how_the_log_ends() {
    let (_tmp, dir) = log();
    let text = run(args("list", &dir, &[])).exits(0).out;
    assert!(
        text.contains("clean end") && text.contains("sealed") && text.contains("active"),
        "{text}"
    );
    let listing = &run(args("list", &dir, &["--json"])).exits(0).json()[0];
    let segments = listing["segments"].as_array().unwrap();
    let records: u64 = segments
        .iter()
        .map(|s| s["records"].as_u64().unwrap())
        .sum();
    assert_eq!(records, RECORDS + 4);
    assert_eq!(segments[0]["state"], "sealed");
    assert!(
        segments.iter().any(|s| s["state"] == "prepared"),
        "{listing}"
    );
    assert_eq!(
        (&listing["first_lsn"], &listing["tail"]),
        (&0.into(), &"clean end".into())
    );
}

#[test]
fn dump_prints_a_record_per_line() {
    let (_tmp, dir) = log();
    let text = run(args("dump", &dir, &[])).exits(0).out;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len() as u64, RECORDS + 4);
    assert!(lines[0].contains("control"), "{}", lines[0]);
    assert!(
        lines[2].contains(".1 ") && lines[2].ends_with(r"sec\tond"),
        "{}",
        lines[2]
    );
    assert!(
        lines.last().unwrap().ends_with("      2  0xff00"),
        "{:?}",
        lines.last()
    );
    let rows = run(args("dump", &dir, &["--json"])).exits(0).json();
    assert_eq!(rows[2]["payload"], "sec\tond");
    assert_eq!(
        (&rows[2]["stream"], &rows[2]["index"], &rows[2]["length"]),
        (&3.into(), &1.into(), &7.into())
    );
    assert_eq!(rows.last().unwrap()["payload_base64"], "/wA=");
}

#[test]
fn dump_begins_at_an_lsn_or_behind_it_and_ends_at_a_limit() {
    let (_tmp, dir) = log();
    let all = run(args("dump", &dir, &["--json", "--payload", "none"]))
        .exits(0)
        .json();
    let lsn = all[400]["lsn"].as_u64().unwrap();
    for from in [lsn, lsn - 1] {
        let from = from.to_string();
        let rows = run(args(
            "dump",
            &dir,
            &[
                "--json",
                "--payload",
                "none",
                "--from",
                &from,
                "--limit",
                "3",
            ],
        ))
        .exits(0);
        assert_eq!(rows.json(), all[400..403]);
    }
    let hex = run(args("dump", &dir, &["--payload", "hex", "--limit", "1"]))
        .exits(0)
        .out;
    assert!(hex.ends_with("81a16107\n"), "{hex}");
    let marks = run(args("dump", &dir, &["--all"])).exits(0).out;
    assert!(
        marks.contains("seal") && marks.contains("close") && marks.contains("was durable"),
        "{marks}"
    );
}

/// Nothing was printed, as if the log were empty.
#[test]
fn dump_says_where_the_log_ends_if_asked_for_more() {
    let (_tmp, dir) = log();
    let listing = &run(args("list", &dir, &["--json"])).exits(0).json()[0];
    let end = listing["end_lsn"].as_u64().unwrap();
    let prepared = end + (16 << 10);
    for from in [end, end + 8, prepared, 1 << 40] {
        for more in [&["--json"][..], &[]] {
            let lsn = from.to_string();
            let more = [&["--from", &lsn], more].concat();
            let ran = run(args("dump", &dir, &more)).exits(0);
            assert_eq!(ran.out, "");
            let expected = format!(
                "highwater-log: there is nothing from LSN {from} on: the log ends at LSN {end}\n"
            );
            assert_eq!(ran.err, expected);
        }
    }
    assert_eq!(run(args("dump", &dir, &[])).exits(0).err, "");
}

/// What only an engine can decode is shown as bytes.
#[test]
fn the_log_of_an_engine_is_found_and_its_own_records_are_bytes() {
    let (tmp, _dir) = log();
    let text = run(args("dump", tmp.path(), &["--limit", "1"]))
        .exits(0)
        .out;
    assert!(
        text.contains("control") && text.ends_with("  0x81a16107\n"),
        "{text}"
    );
}

#[test]
fn a_log_in_use_can_be_looked_at() {
    let (_tmp, dir) = log();
    let held = open(&dir);
    let lsn = held.append("while it is open").unwrap();
    held.sync_to(lsn).unwrap();
    run(args("verify", &dir, &[])).exits(0);
    assert!(
        run(args("dump", &dir, &[]))
            .exits(0)
            .out
            .contains("while it is open")
    );
}

#[test]
fn damage_is_a_finding_with_file_and_offset() {
    let (_tmp, dir) = log();
    assert!(
        run(args("verify", &dir, &[]))
            .exits(0)
            .out
            .starts_with("ok: 604 records")
    );
    let file = dir.join("00000000000000016384.wal");
    damage(&file, 8000);
    let text = run(args("verify", &dir, &[])).exits(1).out;
    assert!(
        text.contains(file.to_str().unwrap())
            && text.contains("offset")
            && text.contains("DAMAGED"),
        "{text}"
    );
    let verified = &run(args("verify", &dir, &["--json"])).exits(1).json()[0];
    let finding = &verified["findings"][0];
    let offset = finding["offset"].as_u64().unwrap();
    assert!((7900..=8000).contains(&offset), "{finding}");
    assert_eq!(finding["lsn"].as_u64().unwrap(), 16384 + offset);
    run(args("list", &dir, &[])).exits(1);
    let dump = run(args("dump", &dir, &[])).exits(1);
    assert!(
        dump.err.contains(file.to_str().unwrap()) && dump.err.contains(&offset.to_string()),
        "{}",
        dump.err
    );
    assert!(
        dump.out.contains("sec\\tond"),
        "everything before the damage is printed: {}",
        dump.out
    );
}

#[test]
fn a_missing_segment_is_a_finding() {
    let (_tmp, dir) = log();
    let file = dir.join("00000000000000016384.wal");
    highwater_wal::disk::Disk::remove_file(&highwater_wal::disk::OsDisk::new(), &file).unwrap();
    let text = run(args("verify", &dir, &[])).exits(1).out;
    assert!(text.contains("missing segment"), "{text}");
}

#[test]
fn what_is_no_log_is_an_io_error_that_says_so() {
    let tmp = TempDir::new().unwrap();
    let missing = tmp.path().join("nowhere");
    let file = tmp.path().join("file");
    write(&file, b"x");
    for what in ["list", "dump", "verify"] {
        let err = run(args(what, &missing, &[])).exits(3).err;
        assert!(
            err.contains("nowhere") && err.contains("No such file"),
            "{err}"
        );
        assert!(
            run(args(what, tmp.path(), &[]))
                .exits(3)
                .err
                .contains("not a log")
        );
        assert!(run(args(what, &file, &[])).exits(3).err.contains("file"));
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    let (_tmp, dir) = log();
    run([""; 0]).exits(2);
    run(["list"]).exits(2);
    run(args("dump", &dir, &["--payload", "poem"])).exits(2);
    run(["frobnicate"]).exits(2);
    assert!(run(["--help"]).exits(0).out.contains("Exit codes"));
    assert!(
        run(["--version"])
            .exits(0)
            .out
            .starts_with("highwater-log ")
    );
}

#[test]
fn a_reader_that_stops_is_no_error() {
    let (tmp, dir) = log();
    let log = open(&dir);
    let big = "x".repeat(4000);
    for _ in 0..200 {
        let _ = log.append(&big).unwrap();
    }
    log.close().unwrap();
    let mut child = command(tmp.path());
    let child = child
        .args(args("dump", &dir, &[]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut line = String::new();
    let mut head = BufReader::new(child.stdout.take().unwrap());
    head.read_line(&mut line).unwrap();
    drop(head);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).as_ref()
        ),
        (Some(0), "")
    );
}
