//! Directories that cannot be used: each a clear error with path and what to do, and nothing on
//! disk is changed.

use highwater::disk::sim::{Call, Fault, FaultKind};
use highwater::disk::{ManualClock, SimDisk};
use highwater::prelude::*;
use highwater::{BatchMode, Error, wal};
use std::path::PathBuf;
use std::sync::Arc;

fn open(disk: &SimDisk) -> highwater::Result<StreamingContext> {
    StreamingContext::builder("/app")
        .disk(Arc::new(disk.clone()))
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .log(
            wal::Options::new()
                .segment_size(8 << 10)
                .max_record_bytes(2_000)
                .background(wal::Background::Inline),
        )
        .batches(BatchMode::Manual)
        .get_or_create(|ssc| {
            ssc.input::<String>("lines").print();
            Ok(())
        })
}

/// A directory with a few segments, not closed cleanly.
fn directory() -> SimDisk {
    let disk = SimDisk::new();
    let context = open(&disk).unwrap();
    context.start().unwrap();
    fill(&context, 30);
    let killed = disk.kill_process();
    drop(context);
    killed
}

fn fill(context: &StreamingContext, lines: u32) {
    let input = context.input::<String>("lines").unwrap();
    for number in 0..lines {
        input
            .send(&format!("{number} {}", "x".repeat(500)))
            .unwrap()
            .wait()
            .unwrap();
    }
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    disk.files()
        .into_iter()
        .filter(|f| f.extension().is_some_and(|e| e == "wal"))
        .collect()
}

/// Opens, expects an error that names `parts`, and checks that no file was touched.
fn refused(disk: &SimDisk, parts: &[&str]) {
    let contents = |disk: &SimDisk| -> Vec<_> {
        disk.files()
            .into_iter()
            .map(|f| (f.clone(), disk.read_file(&f)))
            .collect()
    };
    let before = contents(disk);
    let error = open(disk).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    let is_lock = |path: &PathBuf| path.ends_with("LOCK");
    let untouched = |of: Vec<(PathBuf, _)>| {
        of.into_iter()
            .filter(|(p, _)| !is_lock(p))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        untouched(contents(disk)),
        untouched(before),
        "a refusal changes nothing: {text}"
    );
}

#[test]
fn a_directory_that_is_a_file() {
    let disk = SimDisk::new();
    disk.put_file("/app", b"not a directory".to_vec());
    refused(&disk, &["/app"]);
}

/// F50: not permitted.
#[test]
fn a_directory_that_may_not_be_written() {
    let disk = SimDisk::new();
    disk.fail(Fault::new(Call::CreateDir, FaultKind::Eacces).forever());
    refused(&disk, &["/app", "ermission"]);
}

/// F29: a read-only file system.
#[test]
fn a_read_only_file_system() {
    let disk = directory();
    disk.fail(Fault::new(Call::Create, FaultKind::Erofs).forever());
    disk.fail(Fault::new(Call::Write, FaultKind::Erofs).forever());
    disk.fail(Fault::new(Call::Rename, FaultKind::Erofs).forever());
    let error = open(&disk).unwrap_err();
    assert!(error.to_string().contains("/app"), "{error}");
}

/// F45, P10.
#[test]
fn a_directory_held_by_another_context() {
    let disk = SimDisk::new();
    let _held = open(&disk).unwrap();
    let error = open(&disk).unwrap_err().to_string();
    assert!(
        error.contains("in use") && error.contains(&std::process::id().to_string()),
        "{error}"
    );
}

/// F82, P11: a newer format is refused before anything is written.
#[test]
fn a_log_of_a_newer_format() {
    let disk = directory();
    let text = String::from_utf8(disk.read_file("/app/log/LOG").unwrap()).unwrap();
    let newer = text.replacen("\"format_version\":2", "\"format_version\":3", 1);
    assert_ne!(text, newer);
    disk.edit("/app/log/LOG", |bytes| *bytes = newer.into_bytes());
    refused(&disk, &["LOG", "version"]);
}

/// F37.
#[test]
fn a_missing_segment() {
    let disk = directory();
    let all = segments(&disk);
    assert!(all.len() >= 3, "{all:?}");
    disk.delete_file(&all[1]);
    refused(
        &disk,
        &[
            "missing segment",
            all[1].file_name().unwrap().to_str().unwrap(),
        ],
    );
}

/// F38: a segment of another log under this one's name.
#[test]
fn a_foreign_segment() {
    let (disk, other) = (directory(), directory());
    let all = segments(&disk);
    let foreign = other.read_file(&all[1]).unwrap();
    disk.edit(&all[1], |bytes| *bytes = foreign);
    refused(
        &disk,
        &["another log", all[1].file_name().unwrap().to_str().unwrap()],
    );
}

#[test]
fn a_record_over_the_maximum_is_refused_and_the_rest_goes_on() {
    let disk = SimDisk::new();
    let context = open(&disk).unwrap();
    context.start().unwrap();
    let input = context.input::<String>("lines").unwrap();
    let error = input.send(&"x".repeat(5_000)).unwrap_err();
    assert!(
        matches!(error, Error::Log(_)) && error.to_string().contains("2000"),
        "{error}"
    );
    input.send(&"fits".to_owned()).unwrap().wait().unwrap();
    context.run_batch().unwrap();
}

/// F21, F22, P8: a full disk refuses, keeps what it has, and goes on without reopening when there
/// is room.
#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new();
    let context = open(&disk).unwrap();
    context.start().unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 9_000));
    let input = context.input::<String>("lines").unwrap();
    let line = "x".repeat(500);
    let mut accepted = 0;
    let error = loop {
        match input.send(&line).and_then(|ack| ack.wait()) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100, "the disk never filled");
    };
    assert!(error.to_string().contains("/app/log"), "{error}");
    disk.set_capacity(None);
    input.send(&line).unwrap().wait().unwrap();
    let batch = context.run_batch().unwrap();
    assert!(batch.to.get() > accepted * 500);
    context.stop(StopMode::Graceful).unwrap();
}
