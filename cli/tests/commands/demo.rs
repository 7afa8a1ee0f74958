//! `highwater demo`, small, and `highwater checkpoint` on what it leaves.

use crate::common::{Ran, command, damage, paths, run, run_in, write};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// A quick demo over a text of our own.
fn demo(tmp: &Path, more: &[&str]) -> Ran {
    let text: String = (0..300)
        .map(|n| format!("line {n} of {} says word{}\n", n % 7, n % 50))
        .collect();
    let file = tmp.join("text.txt");
    if !file.exists() {
        write(&file, text.as_bytes());
    }
    let args = [
        "demo",
        file.to_str().unwrap(),
        "--rounds",
        "20",
        "--rate",
        "10000",
        "--workers",
        "1",
    ];
    run_in(tmp, args.iter().chain(more))
}

/// The value of a row of the table.
#[track_caller]
fn row(ran: &Ran, name: &str) -> String {
    let line = ran.out.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no row {name:?} in\n{}", ran.out))[name.len()..]
        .trim()
        .to_owned()
}

/// F1, F2, F63, F67: nothing acknowledged is lost, nothing is counted twice.
#[test]
fn everything_acknowledged_is_counted_exactly_once() {
    let tmp = TempDir::new().unwrap();
    let ran = demo(tmp.path(), &["--kills", "3"]).exits(0);
    assert_eq!(row(&ran, "lines acknowledged"), "6,000");
    assert_eq!(row(&ran, "lines lost"), "0");
    assert_eq!(row(&ran, "lines counted twice"), "0");
    assert_eq!(row(&ran, "lines in output files"), "6,000");
    assert!(row(&ran, "kills (SIGKILL)").starts_with("3 "));
    assert!(
        row(&ran, "words compared").starts_with("36,000 (353 distinct)"),
        "{}",
        ran.out
    );
    assert_eq!(
        paths(tmp.path()),
        [tmp.path().join("text.txt")],
        "the directory is removed"
    );
}

/// A test rig that cannot fail proves nothing.
#[test]
fn a_lost_line_is_noticed() {
    let tmp = TempDir::new().unwrap();
    let ran = demo(tmp.path(), &["--kills", "1", "--cheat", "drop-lines"]).exits(1);
    assert_eq!(row(&ran, "lines lost"), "6");
    assert!(
        ran.out.contains("FAILED") && ran.err.contains("kept"),
        "{}\n{}",
        ran.out,
        ran.err
    );
}

#[test]
fn a_line_counted_twice_is_noticed() {
    let tmp = TempDir::new().unwrap();
    let ran = demo(tmp.path(), &["--kills", "6", "--cheat", "no-dedup"]).exits(1);
    assert_ne!(row(&ran, "lines counted twice"), "0");
    assert_eq!(row(&ran, "lines lost"), "0");
}

#[test]
fn what_cannot_be_counted_is_told_before_anything_starts() {
    let tmp = TempDir::new().unwrap();
    let empty = tmp.path().join("empty");
    write(&empty, b"");
    let err = run_in(tmp.path(), [Path::new("demo"), &empty]).exits(2).err;
    assert!(err.contains("nothing to count"), "{err}");
    let err = run_in(tmp.path(), [Path::new("demo"), &tmp.path().join("missing")])
        .exits(3)
        .err;
    assert!(err.contains("missing"), "{err}");
    let output = command(tmp.path())
        .arg("demo")
        .current_dir(tmp.path())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(2),
        "no .md or .rs file: {output:?}"
    );
    assert!(
        demo(tmp.path(), &["--dir", tmp.path().to_str().unwrap()])
            .exits(2)
            .err
            .contains("not empty")
    );
    demo(tmp.path(), &["--kills", "0"]).exits(2);
}

fn checkpoint<'a>(what: &'a str, dir: &'a Path, more: &[&'a str]) -> Ran {
    let args = ["checkpoint", what, dir.to_str().unwrap()];
    run(args.into_iter().chain(more.iter().copied()))
}

/// An engine directory with two checkpoints: that of the demo, and that of a run after it.
fn engine() -> (TempDir, PathBuf) {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("kept");
    demo(
        tmp.path(),
        &["--kills", "1", "--dir", dir.to_str().unwrap()],
    )
    .exits(0);
    run_child_with_one_line(tmp.path(), &dir);
    (tmp, dir.join("engine"))
}

/// Starts the demo's child on `dir` again, sends one line and stops it gracefully. The line makes a
/// batch, and the stop a checkpoint of it.
fn run_child_with_one_line(tmp: &Path, dir: &Path) {
    let mut child = command(tmp)
        .args(["demo-child", "--workers", "1", "--dir"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let ready = events.find(|event| event["event"] == "ready").unwrap();
    let mut stream = TcpStream::connect(ready["address"].as_str().unwrap()).unwrap();
    stream.write_all(b"more 1 6000\tone more line\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("ok "), "{answer}");
    drop(child.stdin.take());
    events.for_each(drop);
    assert!(child.wait().unwrap().success());
}

#[test]
fn checkpoints_are_listed_and_shown() {
    let (_tmp, dir) = engine();
    let list = &checkpoint("list", &dir, &["--json"]).exits(0).json()[0];
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    assert_eq!(
        (&list[0]["recovery"], &list[0]["valid"]),
        (&true.into(), &true.into())
    );
    assert!(
        checkpoint("list", &dir, &[])
            .exits(0)
            .out
            .contains("valid, recovery takes it")
    );

    let text = checkpoint("show", &dir, &[]).exits(0).out;
    assert!(
        text.contains("highwater-demo") && text.contains("update_state_by_key"),
        "{text}"
    );
    let shown = &checkpoint("show", &dir, &["--json"]).exits(0).json()[0];
    assert_eq!(shown["manifest"]["number"], list[0]["number"]);

    let counts = checkpoint("state", &dir, &["counts", "--format", "json"])
        .exits(0)
        .json();
    assert!(
        counts
            .iter()
            .any(|row| row["key"] == "says" && row["value"] == 6000),
        "{counts:?}"
    );
    let limited = checkpoint("state", &dir, &["lines", "--limit", "2"])
        .exits(0)
        .out;
    assert!(
        limited.lines().count() == 2 && limited.contains("\"seen\":18446744073709551615"),
        "{limited}"
    );
    let producers = checkpoint("state", &dir, &["lines-in"]).exits(0).out;
    assert!(producers.starts_with("\"demo\"\t[0,6000,"), "{producers}");
}

#[test]
fn a_damaged_checkpoint_is_a_finding_and_the_older_one_is_taken() {
    let (_tmp, dir) = engine();
    let list = &checkpoint("list", &dir, &["--json"]).exits(0).json()[0];
    let (newest, older) = (
        list[0]["number"].as_u64().unwrap(),
        list[1]["number"].as_u64().unwrap(),
    );
    let prefix = format!("state-{newest:010}");
    let file = paths(&dir.join("checkpoints"))
        .into_iter()
        .find(|p| p.to_str().unwrap().contains(&prefix));
    let file = file.unwrap();
    damage(&file, 500);
    let name = file.file_name().unwrap().to_str().unwrap();
    let text = checkpoint("list", &dir, &[]).exits(1).out;
    assert!(text.contains("NOT USABLE") && text.contains(name), "{text}");
    let list = &checkpoint("list", &dir, &["--json"]).exits(1).json()[0];
    assert_eq!(
        (&list[0]["valid"], &list[1]["recovery"]),
        (&false.into(), &true.into()),
        "{list}"
    );
    assert!(
        checkpoint("show", &dir, &[])
            .exits(0)
            .out
            .starts_with(&format!("checkpoint   {older}\n"))
    );
    let number = newest.to_string();
    assert!(
        checkpoint("show", &dir, &["--number", &number])
            .exits(1)
            .err
            .contains(name)
    );
    damage(&file, 100); // in the first block; the other damage may lie in the zeros between two
    // Not one entry is shown that is not what was written: reading ends at the damaged block, and
    // names it.
    let states = checkpoint("show", &dir, &["--number", &number, "--json"]).exits(1);
    let states = &states.json()[0]["manifest"]["states"];
    let endings: Vec<Ran> = states
        .as_array()
        .unwrap()
        .iter()
        .map(|state| {
            let state = state["name"].as_str().unwrap();
            checkpoint("state", &dir, &[state, "--number", &number]).exits(1)
        })
        .collect();
    assert!(
        endings.iter().any(|ran| ran.err.contains("key group")),
        "{}",
        endings
            .iter()
            .map(|ran| ran.err.as_str())
            .collect::<String>()
    );
}

#[test]
fn checkpoints_that_are_not_there() {
    let (tmp, dir) = engine();
    assert!(
        checkpoint("show", &dir, &["--number", "99999"])
            .exits(2)
            .err
            .contains("there are:")
    );
    assert!(
        checkpoint("state", &dir, &["x"])
            .exits(2)
            .err
            .contains("it has: counts")
    );
    assert!(
        checkpoint("list", &tmp.path().join("nowhere"), &[])
            .exits(3)
            .err
            .contains("nowhere")
    );
    let empty = TempDir::new().unwrap();
    assert!(
        checkpoint("list", empty.path(), &[])
            .exits(3)
            .err
            .contains("holds no checkpoints")
    );
    checkpoint("show", empty.path(), &[]).exits(3);
}

/// A URL is as good as a directory; what it must not hold is not repeated.
#[test]
fn checkpoints_at_a_url() {
    let (tmp, dir) = engine();
    let url = PathBuf::from(format!("file://{}/checkpoints", dir.display()));
    for what in ["list", "show"] {
        let by_path = checkpoint(what, &dir, &["--json"]).exits(0);
        let by_url = checkpoint(what, &url, &["--json"]).exits(0);
        assert_eq!(by_url.out, by_path.out);
    }
    let empty = format!("file://{}", tmp.path().display());
    let nothing = checkpoint("list", Path::new(&empty), &[]).exits(3);
    assert!(
        nothing.err.contains("holds no checkpoints"),
        "{}",
        nothing.err
    );
    for (url, told) in [
        ("s3://me:hunter2@bucket/prefix", "holds a user name"),
        ("ftp://hunter2/dir", "ftp:// is not known"),
    ] {
        let refused = checkpoint("list", Path::new(url), &[]).exits(2);
        let all = format!("{}{}", refused.err, refused.out);
        assert!(all.contains(told) && !all.contains("hunter2"), "{all}");
    }
    if cfg!(not(feature = "hdfs")) {
        let refused = checkpoint("list", Path::new("hdfs://host:1/dir"), &[]).exits(2);
        assert!(
            refused.err.contains("needs the feature `hdfs`"),
            "{}",
            refused.err
        );
    }
}
