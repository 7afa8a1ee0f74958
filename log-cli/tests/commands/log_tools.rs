//! `highwater-log` beyond looking: counting, following, decoding, rescuing, judging disks.

use crate::common::{Ran, command, damage, paths, run, write};
use highwater_wal::disk::{Access, Disk, FileSystem, OsDisk};
use highwater_wal::inspect::Log;
use highwater_wal::{Background, Lsn, Options, StreamId, Wal, WritePath};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

const SEGMENT: &str = "00000000000000016384.wal";

fn open(dir: &Path) -> Wal {
    let options = Options::new().segment_size(16 << 10);
    Wal::open_with(dir, options.write_path(WritePath::PageCache)).unwrap()
}

/// Opens a log without threads, which would go on making the next segment while files are compared.
fn hold(dir: &Path) -> Wal {
    let options = Options::new().segment_size(16 << 10);
    Wal::open_with(dir, options.background(Background::Inline)).unwrap()
}

/// A log of several segments with records of three streams.
fn log() -> (TempDir, PathBuf) {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("log");
    let log = open(&dir);
    for number in 0..300_u32 {
        let text = format!("record {number:>60}");
        let lsn = match number % 3 {
            0 => log.append(&text).unwrap(),
            1 => {
                let range = log.append_batch_to(StreamId(3), [&text, "twin"]);
                range.unwrap().first
            }
            _ => log.append_control(StreamId(7), &text).unwrap(),
        };
        if number % 20 == 0 {
            log.sync_to(lsn).unwrap();
        }
    }
    log.close().unwrap();
    (tmp, dir)
}

fn tool(what: &str, dir: &Path, more: &[&str]) -> Ran {
    let args = [what, dir.to_str().unwrap()];
    run(args.iter().chain(more))
}

fn json(what: &str, dir: &Path, more: &[&str], code: i32) -> Value {
    let ran = tool(what, dir, &[more, &["--json"]].concat()).exits(code);
    let mut lines = ran.json();
    assert_eq!(lines.len(), 1, "{}", ran.out);
    lines.remove(0)
}

fn read(path: &Path) -> Vec<u8> {
    let file = OsDisk::new().open(path, Access::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn bytes_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = paths(dir).into_iter();
    files.map(|path| (path.clone(), read(&path))).collect()
}

fn remove(path: &Path) {
    OsDisk::new().remove_file(path).unwrap();
}

// ---- dump

#[test]
fn dump_ends_before_an_lsn_and_keeps_to_a_stream() {
    let (_tmp, dir) = log();
    let all = tool("dump", &dir, &["--json"]).exits(0).json();
    assert_eq!(all.len(), 400);
    let (from, to) = (&all[100]["lsn"], &all[200]["lsn"]);
    let part = tool(
        "dump",
        &dir,
        &[
            "--json",
            "--from",
            &from.to_string(),
            "--to",
            &to.to_string(),
        ],
    );
    let within = |row: &&Value| {
        let lsn = row["lsn"].as_u64();
        lsn >= from.as_u64() && lsn < to.as_u64()
    };
    let expected: Vec<_> = all.iter().filter(within).cloned().collect();
    assert!(expected.len() > 90);
    assert_eq!(part.exits(0).json(), expected);

    let stream = tool(
        "dump",
        &dir,
        &["--json", "--stream", "3", "--all", "--limit", "5"],
    );
    let of_stream = all.iter().filter(|row| row["stream"] == 3).take(5).cloned();
    assert_eq!(stream.exits(0).json(), of_stream.collect::<Vec<_>>());
    assert_eq!(
        tool("dump", &dir, &["--stream", "9", "--all"]).exits(0).out,
        ""
    );
}

/// Starts `dump --follow` on `dir`.
fn follow(tmp: &Path, dir: &Path, more: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command(tmp)
        .args(["dump", dir.to_str().unwrap(), "--follow"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn line(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line
}

#[test]
fn follow_prints_what_another_process_makes_durable() {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("log");
    let log = open(&dir);
    let first = log.append("first").unwrap();
    log.sync_to(first).unwrap();
    let (mut child, mut out) = follow(tmp.path(), &dir, &["--limit", "402"]);
    assert!(line(&mut out).ends_with("  first\n"));
    // A group that leaves no room for its durable-LSN record in the segment is proven by the next
    // one, one later.
    let text = |number: u32| format!("{number:0>100}\n");
    for number in 0..400 {
        let lsn = log.append(text(number).trim_end()).unwrap();
        log.sync_to(lsn).unwrap();
        if number > 0 {
            let line = line(&mut out);
            assert!(line.ends_with(&text(number - 1)), "{line}");
        }
    }
    assert!(log.stats().segments > 3, "across segments");
    log.close().unwrap();
    drop(log);
    assert!(line(&mut out).ends_with(&text(399)), "closing proves it");
    // Reopening by another process changes nothing.
    let log = open(&dir);
    let lsn = log.append("last").unwrap();
    log.sync_to(lsn).unwrap();
    assert!(line(&mut out).ends_with("  last\n"));
    assert_eq!(
        child.wait().unwrap().code(),
        Some(0),
        "the limit is reached"
    );
}

/// Nothing follows the end of a closed log: it waited for ever.
#[test]
fn follow_ends_where_it_was_told_to() {
    let (tmp, dir) = log();
    let end = Log::open(Arc::new(OsDisk::new()), &dir)
        .unwrap()
        .verify(|_| ());
    let end = end.unwrap().end_lsn.unwrap().to_string();
    let all = tool("dump", &dir, &[]).exits(0).out;
    let (child, mut out) = follow(tmp.path(), &dir, &["--to", &end]);
    let mut shown = String::new();
    out.read_to_string(&mut shown).unwrap();
    assert_eq!(shown, all);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn follow_ends_when_nobody_reads() {
    let (tmp, dir) = log();
    let (child, mut out) = follow(tmp.path(), &dir, &["--from", "4096", "--stream", "7"]);
    assert!(line(&mut out).contains("control"));
    drop(out);
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), vec![]));
}

#[test]
fn follow_says_what_is_not_durable_yet_and_ends_at_damage() {
    let (tmp, dir) = log();
    let log = open(&dir);
    let _ = log.append("not synced").unwrap();
    // What is un-synced is seen by others, but not proven.
    let (mut child, out) = follow(tmp.path(), &dir, &[]);
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let told = line(&mut err);
    assert!(told.contains("not proven durable"), "{told}");
    let lsn = log.append("synced").unwrap();
    log.sync_to(lsn).unwrap();
    let mut seen = out.lines().map(Result::unwrap);
    assert!(seen.any(|line| line.ends_with("  not synced")));
    assert!(seen.any(|line| line.ends_with("  synced")));
    log.close().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    damage(&dir.join(SEGMENT), 8000);
    let mut args = vec!["dump", dir.to_str().unwrap(), "--follow"];
    args.extend(["--from", "16384"]);
    let ran = run(args).exits(1);
    assert!(
        ran.err.contains(SEGMENT) && ran.err.contains("salvage"),
        "{}",
        ran.err
    );
    assert!(
        ran.out.contains("record"),
        "everything before it is printed"
    );
}

#[test]
fn dump_cuts_long_payloads_and_says_how_much_is_left_out() {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("log");
    let log = open(&dir);
    let long = "x".repeat(300);
    let umlauts = "ü".repeat(200);
    let _ = log.append(&long).unwrap();
    let _ = log.append(&umlauts).unwrap();
    let _ = log.append([0; 300]).unwrap();
    let _ = log.append("y".repeat(256)).unwrap();
    log.close().unwrap();
    let lines = |more: &[&str]| -> Vec<String> {
        let out = tool("dump", &dir, more).exits(0).out;
        out.lines().map(str::to_owned).collect()
    };
    let cut = lines(&[]);
    let (x, ü, zeros) = ("x".repeat(256), "ü".repeat(128), "00".repeat(256));
    assert!(
        cut[0].ends_with(&format!("  {x} ... and 44 bytes")),
        "{}",
        cut[0]
    );
    assert!(
        cut[1].ends_with(&format!("  {ü} ... and 144 bytes")),
        "{}",
        cut[1]
    );
    assert!(
        cut[2].ends_with(&format!("  0x{zeros} ... and 44 bytes")),
        "{}",
        cut[2]
    );
    assert!(cut[3].ends_with(&"y".repeat(256)), "{}", cut[3]);
    let whole = lines(&["--payload-limit", "0"]);
    assert!(whole[0].ends_with(&format!("  {long}")), "{}", whole[0]);
    assert!(whole[2].ends_with(&"00".repeat(300)), "{}", whole[2]);
    // Never a part of a character.
    let short = lines(&["--payload-limit", "3"]);
    assert!(short[1].ends_with("  ü ... and 398 bytes"), "{}", short[1]);
    let hex = lines(&["--payload-limit", "2", "--payload", "hex"]);
    assert!(hex[0].ends_with("  7878 ... and 298 bytes"), "{}", hex[0]);
    let none = lines(&["--payload", "none"]);
    assert!(none[0].ends_with("    300"), "{}", none[0]);
    // In JSON all of it, unless a limit is asked for.
    let rows = tool("dump", &dir, &["--json"]).exits(0).json();
    assert_eq!(rows[0]["payload"], long);
    assert_eq!(rows[0].get("payload_left_out"), None);
    let rows = tool("dump", &dir, &["--json", "--payload-limit", "3"]).exits(0);
    let rows = rows.json();
    assert_eq!(
        (&rows[0]["payload"], &rows[0]["length"]),
        (&"xxx".into(), &300.into())
    );
    assert_eq!(rows[1]["payload_left_out"], 398);
}

#[test]
fn dump_prints_the_last_records() {
    let (_tmp, dir) = log();
    let all = tool("dump", &dir, &["--json"]).exits(0).json();
    let tail = |count: usize| all[all.len().saturating_sub(count)..].to_vec();
    let last = |more: &[&str]| tool("dump", &dir, &[&["--json"], more].concat());
    for count in [1, 2, 3, 4, 5, 17, 150, 399, 400, 401, 1_000_000] {
        let rows = last(&["--last", &count.to_string()]).exits(0).json();
        assert_eq!(rows, tail(count), "{count}");
    }
    for (stream, of_all) in [(3, 200), (7, 100), (9, 0)] {
        let of_stream = all.iter().filter(|row| row["stream"] == stream);
        let of_stream: Vec<_> = of_stream.cloned().collect();
        assert_eq!(of_stream.len(), of_all);
        for count in [1, 2, 7, 90, 1000] {
            let rows = last(&[
                "--last",
                &count.to_string(),
                "--stream",
                &stream.to_string(),
            ]);
            let expected = of_stream.len().saturating_sub(count);
            assert_eq!(
                rows.exits(0).json(),
                of_stream[expected..],
                "{stream} {count}"
            );
        }
    }
    // The log's own frames of that stretch are shown, and do not count.
    let own = tool("dump", &dir, &["--last", "2", "--all"]).exits(0).out;
    assert!(own.lines().count() > 2 && own.contains("close"), "{own}");
    for more in [
        &["--from", "4096"][..],
        &["--to", "9000"],
        &["--limit", "2"],
    ] {
        last(&[&["--last", "2"], more].concat()).exits(2);
    }
    last(&["--last", "0"]).exits(2);
    let empty = TempDir::new().unwrap();
    open(empty.path()).close().unwrap();
    let nothing = tool("dump", empty.path(), &["--last", "3"]).exits(0);
    assert_eq!((&*nothing.out, &*nothing.err), ("", ""));
}

/// Only the end of the log is read: what is damaged before it is not seen.
#[test]
fn the_last_records_are_found_without_reading_the_log() {
    let (_tmp, dir) = log();
    let all = tool("dump", &dir, &["--json"]).exits(0).json();
    damage(&dir.join(SEGMENT), 8000);
    tool("dump", &dir, &[]).exits(1);
    let rows = tool("dump", &dir, &["--json", "--last", "5"])
        .exits(0)
        .json();
    assert_eq!(rows, all[395..]);
    // With the damage in the way, the error tells of it.
    let ran = tool("dump", &dir, &["--last", "390"]).exits(1);
    assert!(ran.err.contains(SEGMENT), "{}", ran.err);
}

#[test]
fn follow_begins_with_the_last_records() {
    let (tmp, dir) = log();
    let all = tool("dump", &dir, &[]).exits(0).out;
    let (mut child, mut out) = follow(tmp.path(), &dir, &["--last", "2"]);
    let expected: Vec<&str> = all.lines().skip(398).collect();
    for record in expected {
        assert_eq!(line(&mut out).trim_end(), record);
    }
    let log = open(&dir);
    let lsn = log.append("news").unwrap();
    log.sync_to(lsn).unwrap();
    assert!(line(&mut out).ends_with("  news\n"));
    child.kill().unwrap();
    child.wait().unwrap();
}

// ---- decoders

#[test]
fn a_decoder_answers_line_by_line() {
    let (_tmp, dir) = log();
    // `cat` answers each question with itself.
    let rows = tool("dump", &dir, &["--json", "--decoder", "cat"])
        .exits(0)
        .json();
    assert_eq!(rows.len(), 400);
    let plain = tool("dump", &dir, &["--json"]).exits(0).json();
    for (row, plain) in rows.iter().zip(&plain) {
        let question = &row["decoded"];
        for field in ["lsn", "index", "kind", "stream"] {
            assert_eq!(question[field], plain[field]);
        }
    }
    assert_eq!(rows[2]["decoded"]["payload_base64"], "dHdpbg==");
    let text = tool(
        "dump",
        &dir,
        &["--decoder", "cat", "--stream", "3", "--limit", "2"],
    );
    let out = text.exits(0).out;
    assert!(out.ends_with("\"payload_base64\":\"dHdpbg==\"}\n"), "{out}");
}

#[test]
fn a_decoder_that_fails_is_told_with_the_record() {
    let (_tmp, dir) = log();
    let fails = |exe: &str, more: &[&str]| {
        let args = [&["--decoder", exe], more].concat();
        tool("dump", &dir, &args).exits(3).err
    };
    let dead = fails("false", &[]);
    assert!(
        dead.contains("false") && dead.contains("LSN 4096") && dead.contains("exit status: 1"),
        "{dead}"
    );
    let missing = fails("/no/such/decoder", &[]);
    assert!(
        missing.contains("/no/such/decoder") && missing.contains("No such file"),
        "{missing}"
    );
    // `wc` answers only at the end of its input.
    let silent = fails("wc", &["--decoder-timeout", "1"]);
    assert!(
        silent.contains("within 1 s") && silent.contains("flush"),
        "{silent}"
    );
    // `yes` talks without being asked.
    let chatty = fails("yes", &["--limit", "3"]);
    assert!(chatty.contains("more lines than it was asked"), "{chatty}");
    tool("dump", &dir, &["--decoder", "cat", "--payload", "hex"]).exits(2);
}

// ---- stats

#[test]
fn stats_count_kinds_streams_groups_and_overhead() {
    let (_tmp, dir) = log();
    let stats = json("stats", &dir, &[], 0);
    let named = |list: &str, name: &str| {
        let found = stats[list].as_array().unwrap().iter();
        found
            .clone()
            .find(|row| row["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(stats["total"]["records"], 400);
    assert_eq!(named("kinds", "batch")["records"], 200);
    assert_eq!(named("kinds", "control")["frames"], 100);
    assert_eq!(named("streams", "3")["frames"], 100);
    assert_eq!(named("streams", "7")["records"], 100);
    assert_eq!(stats["record_bytes"]["max"], 67);
    assert_eq!(stats["batch_records"]["p50"], 2);
    assert!(stats["durable_lsn_records"].as_u64().unwrap() >= 15);
    assert!(stats["group_records"]["max"].as_u64().unwrap() >= 20);
    assert!(stats["overhead"]["percent"].as_f64().unwrap() > 10.0);
    assert_eq!(
        (&stats["compression"]["ratio"], &stats["finding"]),
        (&Value::Null, &Value::Null)
    );
    let histogram = stats["record_bytes"]["histogram"].as_array().unwrap();
    let counted: u64 = histogram.iter().map(|b| b["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, 400);
    let text = tool("stats", &dir, &[]).exits(0).out;
    for word in [
        "control",
        "durable-at",
        "64-127",
        "####",
        "no frame is compressed",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    damage(&dir.join(SEGMENT), 8000);
    let stats = json("stats", &dir, &[], 1);
    let records = stats["total"]["records"].as_u64().unwrap();
    assert!((100..400).contains(&records), "{records}");
    assert_eq!(
        stats["finding"]["label"],
        "corrupt frame below a position that is proven durable"
    );
}

// ---- repair and salvage

/// What is damaged hides nothing of the other segments: one missing or damaged showed all the
/// others as empty.
#[test]
fn list_counts_the_intact_segments_of_a_damaged_log() {
    let (_tmp, dir) = log();
    let segments = || {
        let listing = &tool("list", &dir, &["--json"]).json()[0];
        listing["segments"].as_array().unwrap().clone()
    };
    let before = segments();
    damage(&dir.join(SEGMENT), 8000);
    let damaged = segments();
    for (old, new) in before.iter().zip(&damaged) {
        if old["file"] == SEGMENT {
            assert_eq!(new["state"], "damaged");
            let count = |segment: &serde_json::Value| segment["records"].as_u64().unwrap();
            assert!(count(new) > 0 && count(new) < count(old), "{new}");
        } else {
            assert_eq!(old, new);
        }
    }
    OsDisk::new().remove_file(&dir.join(SEGMENT)).unwrap();
    let left: Vec<_> = before
        .into_iter()
        .filter(|s| s["file"] != SEGMENT)
        .collect();
    assert_eq!(segments(), left);
}

#[test]
fn repair_keeps_what_stands_before_the_damage() {
    let (tmp, dir) = log();
    let all = tool("dump", &dir, &["--json"]).exits(0).json();
    damage(&dir.join(SEGMENT), 8000);
    let before = bytes_of(&dir);
    let new = tmp.path().join("repaired");
    let output = ["--output", new.to_str().unwrap()];
    let repaired = json("repair", &dir, &output, 1);
    assert!(before == bytes_of(&dir), "the old log is as it was");
    let cut = repaired["kept_until"].as_u64().unwrap();
    assert_eq!(repaired["lost"]["ranges"][0]["from_lsn"], cut);
    assert!((16384 + 7900..=16384 + 8000).contains(&cut), "{repaired}");
    assert!(repaired["records_after"].as_u64().unwrap() > 100);
    tool("verify", &new, &[]).exits(0);
    let kept = tool("dump", &new, &["--json"]).exits(0).json();
    assert_eq!(
        kept[..],
        all[..kept.len()],
        "the same records at the same LSNs"
    );
    assert_eq!(repaired["records"], kept.len());
    assert!(all[kept.len()]["lsn"].as_u64() == Some(cut));
    let log = open(&new);
    assert!(log.append("goes on").unwrap().get() >= repaired["end_lsn"].as_u64().unwrap());
    drop(log);
    let text = tool(
        "repair",
        &dir,
        &["--output", tmp.path().join("again").to_str().unwrap()],
    );
    let text = text.exits(1).out;
    for word in ["LOST RECORDS", "from LSN", SEGMENT, "salvage", "as it was"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn salvage_keeps_everything_around_the_holes_and_a_map() {
    let (tmp, dir) = log();
    let all = tool("dump", &dir, &["--json"]).exits(0).json();
    damage(&dir.join(SEGMENT), 8000);
    let before = bytes_of(&dir);
    let new = tmp.path().join("salvaged");
    let salvaged = json("salvage", &dir, &["--output", new.to_str().unwrap()], 1);
    assert!(before == bytes_of(&dir), "the old log is as it was");
    assert_eq!(salvaged["lost"]["count"], 1);
    let range = &salvaged["lost"]["ranges"][0];
    let (from, to) = (
        range["from_lsn"].as_u64().unwrap(),
        range["to_lsn"].as_u64().unwrap(),
    );
    assert!(
        from <= 16384 + 8000 && to > 16384 + 8000 && to - from < 200,
        "{range}"
    );
    assert!(range["file"].as_str().unwrap().ends_with(SEGMENT));
    tool("verify", &new, &[]).exits(0);
    let kept = tool("dump", &new, &["--json"]).exits(0).json();
    let lost = all
        .iter()
        .filter(|row| (from..to).contains(&row["lsn"].as_u64().unwrap()));
    assert_eq!(kept.len() + lost.count(), all.len());
    assert_eq!(salvaged["records"], kept.len());

    // The map leads from each old record to the same one in the new log.
    let map = String::from_utf8(read(&tmp.path().join("salvaged.map"))).unwrap();
    let mut pairs = map.lines().skip(1).map(|line| {
        let mut fields = line.split('\t').map(|field| field.parse::<u64>().unwrap());
        (
            fields.next().unwrap(),
            fields.next().unwrap(),
            fields.next().unwrap(),
        )
    });
    let at = |rows: &[Value], lsn: u64| -> Vec<Value> {
        let rows = rows.iter().filter(|row| row["lsn"] == lsn);
        rows.map(|row| row["payload"].clone()).collect()
    };
    assert!(pairs.clone().count() > 290);
    assert!(pairs.all(|(old, new, records)| {
        let old = at(&all, old);
        old == at(&kept, new) && old.len() as u64 == records
    }));
    let text = tool(
        "salvage",
        &dir,
        &["--output", tmp.path().join("again").to_str().unwrap()],
    );
    let text = text.exits(1).out;
    for word in ["LOST RECORDS", "from LSN", "no checkpoint", "again.map"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// `LOG` and headers can be made again from what is left: nothing is lost.
#[test]
fn repair_makes_a_lost_control_file_anew() {
    let (tmp, dir) = log();
    let all = tool("dump", &dir, &["--json"]).exits(0).json();
    damage(&dir.join(SEGMENT), 20);
    remove(&dir.join("LOG"));
    for what in ["list", "dump", "verify", "stats"] {
        let err = tool(what, &dir, &[]).exits(1).err;
        assert!(
            err.contains("missing control file LOG") && err.contains("repair"),
            "{what}: {err}"
        );
        // It sent to `verify`, also from `verify` itself, which needs the file LOG as all of them
        // do.
        assert!(!err.contains("verify"), "{what}: {err}");
    }
    let new = tmp.path().join("repaired");
    let repaired = json("repair", &dir, &["--output", new.to_str().unwrap()], 0);
    assert_eq!(
        (&repaired["ok"], &repaired["lost"]["count"]),
        (&true.into(), &0.into())
    );
    assert_eq!(repaired["findings"].as_array().unwrap().len(), 2);
    assert_eq!(tool("dump", &new, &["--json"]).exits(0).json(), all);
}

/// The words of the parser stood alone: "EOF while parsing a value at line 1 column 0".
#[test]
fn a_damaged_control_file_is_told_in_words_and_no_recovery_tool_needs_it() {
    let (tmp, dir) = log();
    let all = tool("dump", &dir, &["--json"]).exits(0).json();
    for (round, (content, expected)) in [
        ("", "LOG is empty; restore"),
        ("{", "LOG is not the JSON it should be (EOF while"),
        ("\0\0", "LOG is not the JSON it should be (expected value"),
        (
            "{\"format_version\":1}",
            "LOG is not the JSON it should be (missing field",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        remove(&dir.join("LOG"));
        write(&dir.join("LOG"), content.as_bytes());
        for what in ["list", "dump", "verify", "stats"] {
            let err = tool(what, &dir, &[]).exits(1).err;
            assert!(err.contains(expected), "{what}: {err}");
            let next =
                "`highwater-log repair DIR --output NEW` makes a log from the segments alone";
            assert!(err.contains(next), "{what}: {err}");
        }
        let opened = Wal::open(&dir).unwrap_err().to_string();
        assert!(opened.contains(expected), "{opened}");
        let new = tmp.path().join(format!("repaired-{round}"));
        let repaired = json("repair", &dir, &["--output", new.to_str().unwrap()], 0);
        assert_eq!(repaired["ok"], true);
        assert_eq!(tool("dump", &new, &["--json"]).exits(0).json(), all);
    }
}

#[test]
fn the_recovery_tools_refuse_what_would_do_harm() {
    let (tmp, dir) = log();
    let full = tmp.path().join("full");
    OsDisk::new().create_dir_all(&full).unwrap();
    write(&full.join("file"), b"x");
    let link = tmp.path().join("link");
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    let before = bytes_of(&dir);
    for what in ["repair", "salvage"] {
        let to = |path: &Path| tool(what, &dir, &["--output", path.to_str().unwrap()]);
        assert!(to(&full).exits(3).err.contains("not empty"), "{what}");
        assert!(
            to(&dir.join("inside")).exits(2).err.contains("outside"),
            "{what}"
        );
        assert!(
            to(&link.join("inside")).exits(2).err.contains("outside"),
            "{what}"
        );
        assert!(to(&dir).exits(2).err.contains("outside"), "{what}");
        to(&tmp.path().join("no/such/place")).exits(3);
        tool(what, &dir, &[]).exits(2);
        let nowhere = tool(what, &tmp.path().join("nowhere"), &["--output", "x"]);
        assert!(nowhere.exits(3).err.contains("nowhere"), "{what}");
        let held = hold(&dir);
        let pid = std::process::id().to_string();
        let busy = to(&tmp.path().join("busy")).exits(3).err;
        assert!(busy.contains("in use") && busy.contains(&pid), "{busy}");
        drop(held);
    }
    assert!(before.len() == bytes_of(&dir).len());
    let left: Vec<PathBuf> = paths(tmp.path())
        .into_iter()
        .filter(|p| p.to_string_lossy().contains("map"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

// ---- disks

#[test]
fn selftest_judges_and_leaves_nothing_behind() {
    let tmp = TempDir::new().unwrap();
    let ran = tool("selftest", tmp.path(), &["--json"]);
    let report = ran.json().remove(0);
    let code = if report["verdict"] == "fit" { 0 } else { 1 };
    let ran = ran.exits(code);
    assert!(paths(tmp.path()).is_empty(), "{}", ran.out);
    let checks = report["checks"].as_array().unwrap();
    let of = |name: &str| checks.iter().find(|c| c["name"] == name).unwrap();
    // Wherever this runs, locks, names and maps work: the other tests need them.
    for name in ["lock", "names", "maps", "prefault"] {
        assert_eq!(of(name)["verdict"], "fit", "{checks:?}");
    }
    assert!(report["syncs"].as_u64().unwrap() > 0);
    let cost = &report["commit_written"];
    assert!(cost["p50_us"].as_f64() <= cost["p99_us"].as_f64());
    let worst = ["not_fit", "doubtful", "fit"]
        .into_iter()
        .find(|v| checks.iter().any(|c| c["verdict"] == *v));
    assert_eq!(report["verdict"], worst.unwrap());
    let text = tool("selftest", tmp.path(), &[]).out;
    let verdict = text.lines().last().unwrap();
    assert!(
        verdict.contains("fit for a log") || verdict.contains("NOT FIT"),
        "{text}"
    );
    let missing = tool("selftest", &tmp.path().join("nowhere"), &[]).exits(3);
    assert!(missing.err.contains("nowhere"), "{}", missing.err);
}

/// F51
#[test]
fn selftest_names_a_disk_in_memory() {
    let shm = Path::new("/dev/shm");
    if !OsDisk::new()
        .file_system(shm)
        .is_ok_and(|kind| kind == FileSystem::Tmpfs)
    {
        eprintln!("skipped: /dev/shm is no tmpfs here");
        return;
    }
    let report = json("selftest", shm, &[], 1);
    assert_eq!(
        (&report["verdict"], &report["file_system"]),
        (&"not_fit".into(), &"tmpfs".into())
    );
    let text = tool("selftest", shm, &[]).exits(1).out;
    assert!(
        text.contains("tmpfs") && text.contains("/dev/shm is NOT FIT for a log: file system"),
        "{text}"
    );
}

#[test]
fn bench_measures_and_leaves_nothing_behind() {
    let tmp = TempDir::new().unwrap();
    let quick = ["--seconds", "0.05", "--threads", "1,2", "--size", "100"];
    let report = json("bench", tmp.path(), &quick, 0);
    assert!(paths(tmp.path()).is_empty());
    let runs = report["runs"].as_array().unwrap();
    let modes: Vec<_> = runs
        .iter()
        .map(|r| (r["mode"].as_str().unwrap(), r["threads"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        modes,
        [
            ("durable", 1),
            ("durable", 2),
            ("unsynced", 1),
            ("unsynced", 2)
        ]
    );
    for run in runs {
        assert!(run["records"].as_u64().unwrap() > 0, "{run}");
        assert!(run["p50_us"].as_f64() <= run["max_us"].as_f64(), "{run}");
        let durable = run["mode"] == "durable";
        assert_eq!(run["records_per_flush"].is_number(), durable, "{run}");
        assert_eq!(run["rounds"], 3);
        let rate = run["records_per_second"].as_f64();
        assert!(run["least_per_second"].as_f64() <= rate, "{run}");
        assert!(rate <= run["most_per_second"].as_f64(), "{run}");
        // What the disk does at best is beside it, and the percentage is of that.
        assert_eq!(run["bound"].is_object(), durable, "{run}");
        if durable {
            let bound = &run["bound"];
            let of = |way: &str| bound[way]["median"].as_f64().unwrap_or(0.0);
            let best = of("synced").max(of("direct"));
            assert!(best > 0.0, "{run}");
            let percent = 100.0 * rate.unwrap() / best;
            let told = bound["percent"].as_f64().unwrap();
            assert!((told - percent).abs() < 0.1 + percent / 100.0, "{run}");
            assert_eq!(bound["records"], run["threads"], "one of each thread");
        }
    }
    let text = tool("bench", tmp.path(), &quick).exits(0).out;
    for word in [
        "durable",
        "p99.9",
        "of the bound",
        " %",
        "fdatasync",
        "O_DSYNC",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let once = [&quick[..], &["--rounds", "1"]].concat();
    let report = json("bench", tmp.path(), &once, 0);
    assert_eq!(report["runs"][0]["rounds"], 1);
    tool("bench", tmp.path(), &["--rounds", "0"]).exits(2);
    tool("bench", tmp.path(), &["--seconds", "0"]).exits(2);
    tool("bench", tmp.path(), &["--threads", "0"]).exits(2);
    tool("bench", &tmp.path().join("nowhere"), &[]).exits(3);
}

// ---- all of them

/// What only looks takes no lock, writes nothing, and minds no reader that went away.
#[test]
fn looking_changes_nothing_and_tolerates_head() {
    let (tmp, dir) = log();
    let held = hold(&dir);
    let before = bytes_of(&dir);
    for what in ["list", "dump", "stats", "verify"] {
        tool(what, &dir, &[]).exits(0);
        let mut child = command(tmp.path());
        let child = child.args([what, dir.to_str().unwrap(), "--json"]);
        let mut child = child
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut first).unwrap();
        drop(out);
        let ended = child.wait_with_output().unwrap();
        assert_eq!(
            (ended.status.code(), ended.stderr),
            (Some(0), vec![]),
            "{what}"
        );
    }
    assert!(before == bytes_of(&dir));
    drop(held);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    assert!(
        Log::open(disk, &dir)
            .unwrap()
            .frames(Lsn::ZERO)
            .unwrap()
            .all(|f| f.is_ok())
    );
}
