//! Lines that live longer than their batch, as keys or in values of state, keep nothing of the log.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one looks at the files and maps of its process"
)]

use highwater_connectors::{Line, Sources};
use highwater_engine::{
    BatchMode, BoxError, CheckpointPolicy, DStream, StopMode, StreamingContext, wal,
};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// What a user may make of lines: they lie deep in keys and values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Reading {
    sensor: Line,
    note: Option<Line>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    all: Vec<Line>,
    last: Option<(u8, Line)>,
}

fn reading(line: &Line) -> Reading {
    Reading {
        sensor: line.clone(),
        note: Some(line.clone()),
    }
}

/// Keeps every line that is `kept`, in each way of keeping.
fn program(lines: &DStream<Line>) {
    let kept = lines.filter(|line| line.starts_with("kept"));
    kept.map(|line| (line, 1_u64))
        .update_state_by_key_changed("key", |_, new: &[u64], n: &mut Option<u64>| {
            *n = Some(n.unwrap_or(0) + new.len() as u64);
        })
        .count()
        .for_each_batch("keys", |_, _: Vec<u64>| ());
    kept.map(|line| ((0_u8, reading(&line)), 1_u64))
        .update_state_by_key_changed("deep key", |_, new: &[u64], n: &mut Option<u64>| {
            *n = Some(n.unwrap_or(0) + new.len() as u64);
        })
        .count()
        .for_each_batch("deep keys", |_, _: Vec<u64>| ());
    kept.map(|line| (0_u8, line))
        .update_state_by_key_changed("value", |_, new: &[Line], kept: &mut Option<Kept>| {
            let kept = kept.get_or_insert_default();
            kept.all.extend(new.iter().cloned());
            kept.last = new.last().map(|line| (7, line.clone()));
        })
        .count()
        .for_each_batch("values", |_, _: Vec<u64>| ());
    kept.map(|line| (0_u8, line))
        .group_by_key()
        .update_state_by_key_changed(
            "groups",
            |_, new: &[Vec<Line>], all: &mut Option<Vec<Line>>| {
                all.get_or_insert_default().extend(new.concat());
            },
        )
        .count()
        .for_each_batch("groups counted", |_, _: Vec<u64>| ());
}

/// Maps of log files of `dir` in this process, deleted ones included, and open descriptors of them.
fn held(dir: &Path) -> (usize, usize) {
    let dir = dir.to_str().unwrap();
    let is_log = |name: &str| name.contains(dir) && name.contains(".wal");
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let open = descriptors.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    (
        maps.lines().filter(|line| is_log(line)).count(),
        open.filter(|path| is_log(&path.to_string_lossy())).count(),
    )
}

/// One kept line kept the map of its whole segment: hundreds of MiB of deleted files.
#[test]
fn kept_lines_keep_no_segment_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let watched = dir.path().join("in");
    fs::create_dir(&watched).unwrap();
    let context = StreamingContext::builder(dir.path().join("app"))
        .log(wal::Options::new().segment_size(64 << 10))
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(2))
        .get_or_create(|ssc| {
            program(&ssc.text_file_stream("files", &watched));
            Ok::<(), BoxError>(())
        })
        .unwrap();
    context.start().unwrap();
    for round in 0..12 {
        // Larger than a segment, and one line in it is kept.
        let filler = format!("filler {}\n", "x".repeat(90)).repeat(1000);
        let text = format!("{filler}kept {round}\n");
        fs::write(dir.path().join("moving"), text).unwrap();
        fs::rename(dir.path().join("moving"), watched.join(round.to_string())).unwrap();
        while context.sources()[0].1.stored < 1001 * (round + 1) {
            std::thread::yield_now();
        }
        context.run_batch().unwrap();
    }
    let log = context.log();
    let passed = log.first_lsn().get() >> 16;
    assert!(passed > 10, "the log was truncated by {passed} segments");
    let (maps, descriptors) = held(dir.path());
    assert!(
        maps < 12 && descriptors < 12,
        "{maps} maps, {descriptors} descriptors"
    );
    context.stop(StopMode::Graceful).unwrap();
}
