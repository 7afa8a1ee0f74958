//! What is said of damage: how far it goes, what it costs, what to do; and one segment file alone.

use crate::common;
use crate::common::{Ran, damage, paths, run};
use highwater_wal::disk::{Access, Disk, OsDisk};
use highwater_wal::{Options, Wal};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const FIRST: &str = "00000000000000000000.wal";
const SECOND: &str = "00000000000000016384.wal";

/// A log of several segments with 300 records.
fn log() -> (TempDir, PathBuf) {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("log");
    let log = Wal::open_with(&dir, Options::new().segment_size(16 << 10)).unwrap();
    for number in 0..300_u32 {
        let lsn = log.append(format!("record {number:0>200}")).unwrap();
        if number % 20 == 0 {
            log.sync_to(lsn).unwrap();
        }
    }
    log.close().unwrap();
    (tmp, dir)
}

fn tool(what: &str, path: &Path, more: &[&str]) -> Ran {
    let args = [what, path.to_str().unwrap()];
    run(args.iter().chain(more))
}

fn json(what: &str, path: &Path, code: i32) -> Value {
    let ran = tool(what, path, &["--json"]).exits(code);
    ran.json().remove(0)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn remove(path: &Path) {
    OsDisk::new().remove_file(path).unwrap();
}

#[test]
fn a_finding_has_an_extent_a_cost_and_a_next_command() {
    let (tmp, dir) = log();
    let all = tool("dump", &dir, &["--json"]).exits(0).json();
    damage(&dir.join(SECOND), 8000);
    damage(&dir.join(SECOND), 12_000);
    let verified = json("verify", &dir, 1);
    let findings = verified["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 2, "{verified}");
    let mut lost = Vec::new();
    for (finding, offset) in findings.iter().zip([8000, 12_000]) {
        let extent = &finding["extent"];
        let (from, to) = (number(&extent["from_lsn"]), number(&extent["to_lsn"]));
        assert!((from..to).contains(&(16384 + offset)), "{extent}");
        assert_eq!(number(&extent["bytes"]), to - from);
        assert!(to - from < 300, "one frame: {extent}");
        assert_eq!(number(&extent["from_offset"]), from - 16384);
        assert_eq!(number(&extent["to_offset"]), to - 16384);
        // Both ends are those of intact records.
        assert!(all.iter().any(|row| row["lsn"] == from), "{extent}");
        lost.push(from);
    }
    let before = all
        .iter()
        .filter(|row| number(&row["lsn"]) < lost[0])
        .count();
    let repair = &verified["repair"];
    assert_eq!(number(&repair["kept_records"]), before as u64);
    assert_eq!(number(&repair["records_after"]), 298 - before as u64);
    assert_eq!(number(&repair["kept_until"]), lost[0]);
    let next: Vec<&str> = verified["next"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap())
        .collect();
    let place = dir.to_str().unwrap();
    assert!(
        next[0].contains("from a backup") && next[0].contains(SECOND),
        "{next:?}"
    );
    assert_eq!(
        next[1..],
        [
            format!("highwater-log repair {place} --output NEW"),
            format!("highwater-log salvage {place} --output NEW")
        ]
    );
    let text = tool("verify", &dir, &[]).exits(1).out;
    for word in [
        "extent  LSN",
        "how many records were in them is not known",
        &format!("repair would keep {before} records"),
        &format!("lose {} intact ones", 298 - before),
        &format!("\nor:   highwater-log salvage {place} --output NEW\n"),
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // What is said is what the commands do.
    let new = tmp.path().join("new");
    let repaired = tool(
        "repair",
        &dir,
        &["--json", "--output", new.to_str().unwrap()],
    );
    let repaired = repaired.exits(1).json().remove(0);
    assert_eq!(repaired["records"], repair["kept_records"]);
    assert_eq!(repaired["records_after"], repair["records_after"]);
    assert_eq!(repaired["lost"]["bytes"], repair["lost_bytes"]);
}

#[test]
fn a_missing_segment_has_an_extent_too() {
    let (_tmp, dir) = log();
    remove(&dir.join(SECOND));
    let verified = json("verify", &dir, 1);
    let extent = &verified["findings"][0]["extent"];
    assert_eq!(number(&extent["from_lsn"]), 16384);
    // Up to the first frame of the next segment.
    assert_eq!(number(&extent["to_lsn"]), 2 * 16384 + 4096);
    assert_eq!(extent["to_offset"], Value::Null);
    assert!(number(&verified["repair"]["records_after"]) > 100);
}

/// Nothing is lost if only a header is damaged: salvage is not advised.
#[test]
fn damage_that_costs_nothing_says_so() {
    let (_tmp, dir) = log();
    damage(&dir.join(SECOND), 20);
    let verified = json("verify", &dir, 1);
    assert_eq!(verified["findings"][0].get("extent"), None);
    assert_eq!(number(&verified["repair"]["kept_records"]), 300);
    assert_eq!(verified["next"].as_array().unwrap().len(), 2, "{verified}");
    let text = tool("verify", &dir, &[]).exits(1).out;
    assert!(text.contains("keep all 300 records"), "{text}");
    // Of a sound log none of this is said.
    let (_tmp, dir) = log();
    let verified = json("verify", &dir, 0);
    assert!(verified.get("repair").is_none() && verified.get("next").is_none());
}

#[test]
fn a_command_to_type_is_quoted_for_a_shell() {
    let (tmp, dir) = log();
    let odd = tmp.path().join("it's a log");
    OsDisk::new().rename(&dir, &odd).unwrap();
    damage(&odd.join(SECOND), 8000);
    let verified = json("verify", &odd, 1);
    let next = verified["next"][1].as_str().unwrap();
    assert!(next.contains(r"/it'\''s a log' --output NEW"), "{next}");
}

// ---- one segment file

/// Copies a segment to a place of its own, under a name of its own.
fn copied(tmp: &Path, dir: &Path, name: &str) -> PathBuf {
    let disk = OsDisk::new();
    let file = disk.open(&dir.join(name), Access::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let copy = tmp.join("found.wal");
    common::write(&copy, &bytes);
    copy
}

#[test]
fn one_segment_file_is_read_without_its_log() {
    let (tmp, dir) = log();
    let all = tool("dump", &dir, &["--json"]).exits(0).json();
    let base = 16384;
    let inside = |row: &&Value| (base..2 * base).contains(&number(&row["lsn"]));
    let expected: Vec<_> = all.iter().filter(inside).cloned().collect();
    let count = expected.len();
    assert!(count > 20);
    for file in [dir.join(SECOND), copied(tmp.path(), &dir, SECOND)] {
        let dumped = tool("dump", &file, &["--json"]).exits(0);
        assert_eq!(dumped.json(), expected);
        assert!(
            dumped.err.contains("one segment file without its log"),
            "{}",
            dumped.err
        );
        let last = tool("dump", &file, &["--json", "--last", "3"]).exits(0);
        assert_eq!(last.json(), expected[count - 3..]);
        let from = expected[10]["lsn"].to_string();
        let part = tool("dump", &file, &["--json", "--from", &from]).exits(0);
        assert_eq!(part.json(), expected[10..]);
        let listing = json("list", &file, 0);
        assert_eq!(number(&listing["segments"][0]["records"]), count as u64);
        assert_eq!(listing["end_lsn"], Value::Null);
        let stats = json("stats", &file, 0);
        assert_eq!(number(&stats["total"]["records"]), count as u64);
        let verified = json("verify", &file, 0);
        assert_eq!(number(&verified["records"]), count as u64);
        for what in [&listing, &stats, &verified] {
            assert!(
                what["note"].as_str().unwrap().contains("is not known"),
                "{what}"
            );
        }
        for what in ["list", "stats", "verify"] {
            let text = tool(what, &file, &[]).exits(0).out;
            assert!(
                text.contains("one segment file without its log"),
                "{what}: {text}"
            );
        }
        let outside = tool("dump", &file, &["--from", "4096"]).exits(2).err;
        assert!(outside.contains("not in this file"), "{outside}");
        let follow = tool("dump", &file, &["--follow"]).exits(3).err;
        assert!(follow.contains("one segment file"), "{follow}");
    }
    assert_eq!(paths(tmp.path()).len(), 2, "nothing is written");
}

#[test]
fn damage_of_one_segment_file_is_passed_over_and_told() {
    let (tmp, dir) = log();
    let file = copied(tmp.path(), &dir, FIRST);
    let all = tool("dump", &file, &["--json"]).exits(0).json();
    damage(&file, 8000);
    let dumped = tool("dump", &file, &["--json"]).exits(1);
    let left = dumped.json();
    assert_eq!(left.len(), all.len() - 1);
    assert_eq!((left.first(), left.last()), (all.first(), all.last()));
    assert!(
        dumped.err.contains("place without an intact frame"),
        "{}",
        dumped.err
    );
    let verified = json("verify", &file, 1);
    let extent = &verified["findings"][0]["extent"];
    let (from, to) = (number(&extent["from_lsn"]), number(&extent["to_lsn"]));
    assert!((from..to).contains(&8000) && to - from < 300, "{extent}");
    let next = verified["next"].as_array().unwrap();
    assert_eq!(next[1], format!("highwater-log dump {}", file.display()));
    assert_eq!(
        number(&json("stats", &file, 1)["total"]["records"]),
        left.len() as u64
    );
    // Without its header nothing can be told.
    damage(&file, 20);
    let err = tool("dump", &file, &[]).exits(1).err;
    assert!(
        err.contains("identity") && err.contains("found.wal"),
        "{err}"
    );
}
