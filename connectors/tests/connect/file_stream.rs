//! Files with any decoder, copied into the log or read where they are: every line once, whatever
//! happens to the program and to the files.

use crate::incoming::{machine, move_in};
use crate::saved_seeds;
use crate::small::builder;
use highwater_connectors::{FileInput, Line, Sources};
use highwater_engine::wal::disk::{Access, Disk, SimDisk};
use highwater_engine::{
    BatchMode, Builder, DStream, Error, ErrorPolicy, Mismatch, Result, SourceStats, StopMode,
    StreamScope, StreamingContext,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

type Seen = Arc<Mutex<BTreeMap<u64, Vec<String>>>>;

fn open(
    builder: Builder,
    seen: &Seen,
    stream: impl FnOnce(&StreamScope) -> DStream<String>,
) -> Result<StreamingContext> {
    let seen = Arc::clone(seen);
    let context = builder.get_or_create(move |ssc| {
        stream(ssc).for_each_batch("out", move |batch, records: Vec<String>| {
            let before = seen.lock().insert(batch.id, records.clone());
            assert!(before.is_none_or(|before| before == records), "{batch}");
        });
        Ok(())
    })?;
    context.start()?;
    Ok(context)
}

fn by_offset(ssc: &StreamScope) -> DStream<String> {
    let lines = ssc.file_stream("files", "/in", FileInput::lines().by_offset());
    lines.map(|line: Line| line.to_string())
}

fn copied(ssc: &StreamScope) -> DStream<String> {
    let lines = ssc.file_stream("files", "/in", FileInput::lines());
    lines.map(|line: Line| line.to_string())
}

fn all(seen: &Seen) -> Vec<String> {
    seen.lock().values().flatten().cloned().collect()
}

fn run(context: &StreamingContext, batches: usize) {
    for _ in 0..batches {
        context.run_batch().unwrap();
    }
}

fn stats(context: &StreamingContext) -> SourceStats {
    context.sources()[0].1
}

#[test]
fn files_are_read_where_they_are_once_and_in_order() {
    let (disk, seen) = (machine(), Seen::default());
    disk.set_time_ms(2000);
    move_in(&disk, "a", "later 1\nlater 2");
    disk.set_time_ms(1000);
    move_in(&disk, "z", "early\r\n\n");
    for ignored in [".hidden", "half.tmp", "x._COPYING_"] {
        move_in(&disk, ignored, "no\n");
    }
    let context = open(builder(&disk, BatchMode::Manual), &seen, by_offset).unwrap();
    context.run_batch().unwrap();
    let mut expected = vec!["early", "", "later 1", "later 2"];
    assert_eq!(all(&seen), expected);
    move_in(&disk, "b", "while running\n");
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    move_in(&disk, "c", "while down\n");
    let context = open(builder(&disk, BatchMode::Manual), &seen, by_offset).unwrap();
    context.run_batch().unwrap();
    context.run_batch().unwrap();
    expected.extend(["while running", "while down"]);
    assert_eq!(all(&seen), expected);
    // What a checkpoint covers may go, and a file that changed is another one.
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    disk.remove_file(Path::new("/in/a")).unwrap();
    disk.set_time_ms(3000);
    move_in(&disk, "b", "changed\n");
    let context = open(builder(&disk, BatchMode::Manual), &seen, by_offset).unwrap();
    context.run_batch().unwrap();
    assert_eq!(all(&seen).last().unwrap(), "changed");
    assert_eq!((stats(&context).read_again, stats(&context).errors), (1, 0));
}

#[test]
fn a_missing_directory_fails_the_start() {
    let disk = SimDisk::new();
    let started = open(
        builder(&disk, BatchMode::Manual),
        &Seen::default(),
        by_offset,
    );
    let error = started.unwrap_err().to_string();
    assert!(error.contains("/in"), "{error}");
}

/// The lines of a file as one who reads it whole would find them.
fn naive(content: &[u8]) -> Vec<String> {
    if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
        return Vec::new();
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let lines = content.split_inclusive(|b| *b == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    let short = lines.filter(|line| line.len() <= 1 << 20);
    short
        .filter_map(|line| String::from_utf8(line.to_vec()).ok())
        .collect()
}

/// A piece of a file.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[a-c\r]{0,5}\n".prop_map(String::into_bytes),
        2 => (1_usize..9).prop_map(|n| vec![b'\n'; n]),
        1 => Just(b"\xff\xfe\n".to_vec()),
        1 => Just(b"\xef\xbb\xbf".to_vec()),
        1 => (0_usize..6).prop_map(|n| vec![b'x'; (1 << 20) - 3 + n]),
        1 => Just(vec![b'y'; 3 << 20]),
        3 => (1_usize..60_000).prop_map(|n| b"some words in a line\n".repeat(n)),
    ]
}

proptest! {
    #![proptest_config(saved_seeds::config(24, env!("CARGO_MANIFEST_DIR"), "file_stream"))]
    /// Ranges end anywhere, lines do not care.
    #[test]
    fn lines_do_not_depend_on_where_a_file_is_cut(
        files in prop::collection::vec(prop::collection::vec(piece(), 0..6), 1..4),
        max_batch in prop_oneof![Just(1_u64 << 20), Just(64 << 20)],
    ) {
        let (disk, seen) = (machine(), Seen::default());
        let mut expected = Vec::new();
        for (n, pieces) in files.iter().enumerate() {
            let content = pieces.concat();
            expected.extend(naive(&content));
            move_in(&disk, &format!("{n}"), content);
        }
        let builder = builder(&disk, BatchMode::Manual).max_batch_bytes(max_batch);
        let context = open(builder, &seen, by_offset).unwrap();
        // A batch may have nothing but the ends of empty files.
        let mut quiet = 0;
        while quiet < 4 {
            let before = stats(&context).stored;
            context.run_batch().unwrap();
            quiet = if stats(&context).stored == before { quiet + 1 } else { 0 };
        }
        prop_assert_eq!(all(&seen), expected);
    }
}

#[test]
fn a_power_cut_before_every_disk_operation_loses_no_line_and_repeats_none() {
    let live = |disk: &SimDisk, seen: &Seen| -> Result<()> {
        let builder = builder(disk, BatchMode::Manual).max_batch_bytes(1 << 20);
        let context = open(builder, seen, by_offset)?;
        let before = context.progress().last_batch.unwrap_or(0);
        for _ in before..7 {
            context.run_batch()?;
        }
        context.stop(StopMode::Graceful)
    };
    let machine = || {
        let disk = machine();
        for n in 0..3 {
            let lines = (0..60_000).map(|line| format!("{n} {line} some words\n"));
            move_in(&disk, &format!("{n}"), lines.collect::<String>());
        }
        disk
    };
    let (disk, expected) = (machine(), Seen::default());
    let before = disk.mutations();
    live(&disk, &expected).unwrap();
    assert_eq!(all(&expected).len(), 180_000);
    assert!(
        expected
            .lock()
            .values()
            .filter(|lines| !lines.is_empty())
            .count()
            > 3
    );
    for cut in (before..disk.mutations()).step_by(9) {
        let (disk, seen) = (machine(), Seen::default());
        disk.cut_power_before(cut);
        let _may_have_been_its_last_step = live(&disk, &seen);
        let disk = disk.restart_after_power_cut(cut);
        live(&disk, &seen).unwrap_or_else(|e| panic!("cut before {cut}: {e}"));
        assert!(all(&seen) == all(&expected), "cut before {cut}");
    }
}

/// What a batch was cut with must be what it reads: a line would be counted twice, or not.
#[test]
fn a_file_that_is_gone_or_changed_before_it_is_covered_stops_the_context() {
    let content = "one\ntwo\n";
    for change in ["gone", "changed", "shorter"] {
        let (disk, seen) = (machine(), Seen::default());
        move_in(&disk, "f", content);
        let context = open(builder(&disk, BatchMode::Manual), &seen, by_offset).unwrap();
        context.run_batch().unwrap();
        drop(context); // no checkpoint: the next start reads it again
        match change {
            "gone" => disk.remove_file(Path::new("/in/f")).unwrap(),
            "changed" => move_in(&disk, "f", "one\nTWO\n"),
            _ => move_in(&disk, "f", "one\n"),
        }
        for _ in 0..2 {
            let started = open(builder(&disk, BatchMode::Manual), &seen, by_offset);
            let error = started.unwrap_err().to_string();
            let says = |what: &str| assert!(error.contains(what), "{change}: {error}");
            says("/in/f");
            says("put it back");
        }
        move_in(&disk, "f", content);
        let context = open(builder(&disk, BatchMode::Manual), &seen, by_offset).unwrap();
        context.run_batch().unwrap();
        assert_eq!(all(&seen)[..2], ["one", "two"]);
    }
}

/// A file is read to its end though it vanishes between two batches, or that is reported.
#[test]
fn a_file_that_vanishes_half_way_is_reported_once_and_goes_on_when_it_is_back() {
    let (disk, seen) = (machine(), Seen::default());
    let content = "a line of a long file\n".repeat(100_000);
    move_in(&disk, "f", content);
    let builder = || builder(&disk, BatchMode::Manual).max_batch_bytes(1 << 20);
    let context = open(builder(), &seen, by_offset).unwrap();
    context.run_batch().unwrap();
    let first = all(&seen).len();
    assert!(first > 0 && first < 100_000, "{first}");
    disk.rename(Path::new("/in/f"), Path::new("/aside"))
        .unwrap();
    run(&context, 4);
    assert_eq!((all(&seen).len(), stats(&context).vanished), (first, 1));
    disk.rename(Path::new("/aside"), Path::new("/in/f"))
        .unwrap();
    run(&context, 4);
    assert_eq!(all(&seen).len(), 100_000);
}

#[test]
fn many_small_files_are_read_once_over_restarts() {
    const FILES: usize = 2500;
    let (disk, seen) = (machine(), Seen::default());
    for n in 0..FILES {
        disk.put_file(format!("/in/{n:05}"), format!("{n}\n"));
    }
    disk.sync_dir(Path::new("/in")).unwrap();
    for life in 0..3 {
        let context = open(builder(&disk, BatchMode::Manual), &seen, by_offset).unwrap();
        for _ in 0..20 {
            context.run_batch().unwrap();
        }
        assert_eq!(all(&seen).len(), FILES, "life {life}");
        let bytes = if life == 0 { stats(&context).stored } else { 0 };
        assert_eq!(stats(&context).stored, bytes, "nothing is read again");
        context.stop(StopMode::Graceful).unwrap();
    }
}

/// Lines that no decoder can read go to the policy, in both ways of reading.
#[test]
fn a_line_that_does_not_decode_goes_to_the_policy() {
    for is_by_offset in [true, false] {
        for policy in [
            ErrorPolicy::FailBatch,
            ErrorPolicy::Skip,
            ErrorPolicy::DeadLetter,
        ] {
            let (disk, seen) = (machine(), Seen::default());
            move_in(&disk, "f", "{\"n\":1}\nnone\n{\"n\":3}\n");
            let stream = move |ssc: &StreamScope| {
                let mut input = FileInput::<BTreeMap<String, u64>>::json_lines().on_error(policy);
                if is_by_offset {
                    input = input.by_offset();
                }
                ssc.file_stream("files", "/in", input)
                    .map(|map| format!("{map:?}"))
            };
            let context = open(builder(&disk, BatchMode::Manual), &seen, stream).unwrap();
            while stats(&context).stored == 0 && is_by_offset {
                if let Err(error) = context.run_batch() {
                    assert_eq!(policy, ErrorPolicy::FailBatch);
                    assert!(error.to_string().contains("decode files"), "{error}");
                    break;
                }
            }
            if !is_by_offset {
                while stats(&context).stored < 3 {
                    std::thread::yield_now();
                }
                let ran = context.run_batch();
                assert_eq!(ran.is_err(), policy == ErrorPolicy::FailBatch, "{ran:?}");
            }
            if policy != ErrorPolicy::FailBatch {
                assert_eq!(all(&seen), [r#"{"n": 1}"#, r#"{"n": 3}"#]);
                let refused = &context.refused()[0];
                assert_eq!(refused.operator, "decode files");
                let put_aside = u64::from(policy == ErrorPolicy::DeadLetter);
                assert_eq!(
                    (refused.skipped, refused.dead_letters),
                    (1 - put_aside, put_aside)
                );
            }
        }
    }
}

/// Bytes are the offsets, and lines the records: a rate counts lines.
#[test]
fn a_rate_counts_lines() {
    let (disk, seen) = (machine(), Seen::default());
    move_in(&disk, "f", "a line\n\nanother one\n".repeat(9));
    let stream = |ssc: &StreamScope| {
        let input = FileInput::lines().by_offset().max_rate(5);
        let lines = ssc.file_stream("files", "/in", input);
        lines.map(|line: Line| line.to_string())
    };
    let context = open(builder(&disk, BatchMode::Manual), &seen, stream).unwrap();
    run(&context, 7);
    let counts: Vec<usize> = seen.lock().values().map(Vec::len).collect();
    assert_eq!(counts, [5, 5, 5, 5, 5, 2, 0]);
}

/// What was copied would be read again where it is: another kind of source.
#[test]
fn the_way_of_reading_cannot_change_under_a_name() {
    let (disk, seen) = (machine(), Seen::default());
    move_in(&disk, "f", "line\n");
    let context = open(builder(&disk, BatchMode::Manual), &seen, by_offset).unwrap();
    context.run_batch().unwrap();
    drop(context);
    let other = open(builder(&disk, BatchMode::Manual), &seen, copied).unwrap_err();
    assert!(
        matches!(other, Error::Mismatch(Mismatch::OtherSource { .. })),
        "{other}"
    );
    // From text to any decoder there is no such step.
    let (disk, seen) = (machine(), Seen::default());
    move_in(&disk, "f", "line\n");
    let text = |ssc: &StreamScope| ssc.text_file_stream("files", "/in").map(|l| l.to_string());
    let context = open(builder(&disk, BatchMode::Manual), &seen, text).unwrap();
    while stats(&context).stored == 0 {
        std::thread::yield_now();
    }
    context.run_batch().unwrap();
    drop(context);
    let context = open(builder(&disk, BatchMode::Manual), &seen, copied).unwrap();
    context.run_batch().unwrap();
    assert_eq!(all(&seen), ["line"]);
    let there = disk.open(Path::new("/in/f"), Access::Read).unwrap();
    assert_eq!(there.len().unwrap(), 5);
}
