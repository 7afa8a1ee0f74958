//! Text files of a running context: a full disk delays them.

use crate::captured::{capture, warnings};
use highwater_connectors::Outputs;
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::wal::disk::{Disk, ManualClock, SimDisk};
use highwater_engine::{BatchMode, Result, StopMode, StreamingContext, wal};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn context(disk: &SimDisk) -> StreamingContext {
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(disk.clone()))
        .log(wal::Options::new().segment_size(256 << 10))
        .batch_interval(Duration::from_millis(5))
        .get_or_create(|ssc| {
            ssc.input::<String>("lines")
                .save_as_text_files("files", "/out/lines");
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    context
}

fn send(context: &StreamingContext, line: &str) {
    let input = context.input::<String>("lines").unwrap();
    input.send(&line.to_owned()).unwrap().wait().unwrap();
}

/// The lines of all visible files, in order, and how many staged ones there are.
fn written(disk: &SimDisk) -> (Vec<String>, usize) {
    let is_output = |f: &std::path::PathBuf| {
        f.starts_with("/out") && !f.to_string_lossy().ends_with(".highwater")
    };
    let all = disk.files().into_iter().filter(is_output);
    let (staged, mut visible): (Vec<_>, Vec<_>) =
        all.partition(|f| f.to_string_lossy().ends_with(".staged"));
    visible.sort();
    let text = |f: &std::path::PathBuf| String::from_utf8(disk.read_file(f).unwrap()).unwrap();
    let lines = visible.iter().map(text).collect::<String>();
    (lines.lines().map(str::to_owned).collect(), staged.len())
}

/// P8, found by filling a small disk: the log waited for room, but a full disk under an output
/// ended the context.
#[test]
fn a_full_disk_under_an_output_delays_the_batch_and_nothing_else() {
    let disk = SimDisk::new();
    let context = context(&disk);
    let mut sent = Vec::new();
    for (call, kind) in [
        (Call::Create, FaultKind::Enospc),
        (Call::Create, FaultKind::Emfile),
        (Call::Write, FaultKind::Enospc),
        (Call::Write, FaultKind::Edquot),
        (Call::Rename, FaultKind::Enospc),
    ] {
        let fired = disk.faults_fired();
        disk.fail(Fault::new(call, kind).times(2).on(".staged"));
        sent.push(format!("{call:?} {kind:?}"));
        send(&context, sent.last().unwrap());
        // Whether it waits for room or has given up, it gets there.
        while disk.faults_fired() < fired + 2
            && context.context_state() == highwater_engine::ContextState::Active
        {
            context
                .await_termination_or_timeout(Duration::from_millis(5))
                .unwrap();
        }
        context
            .await_batch(context.progress().last_batch.unwrap_or(0) + 1)
            .unwrap();
    }
    context.stop(StopMode::Graceful).unwrap();
    assert_eq!(written(&disk), (sent, 0));
}

#[test]
fn a_stop_does_not_wait_for_room_and_the_next_start_makes_the_file() {
    let disk = SimDisk::new();
    let first = context(&disk);
    disk.fail(
        Fault::new(Call::Write, FaultKind::Enospc)
            .forever()
            .on(".staged"),
    );
    send(&first, "late");
    while disk.faults_fired() == 0 {
        first
            .await_termination_or_timeout(Duration::from_millis(5))
            .unwrap();
    }
    let error = first.stop(StopMode::Graceful).unwrap_err().to_string();
    assert!(
        error.contains(".staged") && error.contains("files"),
        "{error}"
    );
    drop(first);
    disk.clear_faults();
    let second = context(&disk);
    second.stop(StopMode::Graceful).unwrap();
    assert_eq!(written(&disk), (vec!["late".to_owned()], 0));
}

/// P4: a sync that failed is not tried again, whatever the reason.
#[test]
fn a_failed_sync_under_an_output_ends_the_context() {
    let disk = SimDisk::new();
    let context = context(&disk);
    disk.fail(Fault::new(Call::Sync, FaultKind::Enospc).on(".staged"));
    send(&context, "x");
    let error = context.await_termination().unwrap_err().to_string();
    assert!(error.contains("failed while it was staging"), "{error}");
}

fn program(disk: &SimDisk, dir: &str, outputs: &[(&str, &str)]) -> Result<StreamingContext> {
    let context = StreamingContext::builder(dir)
        .disk(Arc::new(disk.clone()))
        .clock(Arc::new(ManualClock::new(3_600_000)))
        .log(wal::Options::new().segment_size(256 << 10))
        .batches(BatchMode::Manual)
        .batch_interval(Duration::from_secs(3600))
        .get_or_create(|ssc| {
            let lines = ssc.input::<String>("lines");
            for (name, prefix) in outputs {
                lines.save_as_text_files(name, prefix);
            }
            Ok(())
        })?;
    context.start()?;
    Ok(context)
}

fn run_one(disk: &SimDisk, dir: &str, line: &str) -> Result<()> {
    let context = program(disk, dir, &[("o", "/out/daily")])?;
    send(&context, line);
    context.stop(StopMode::Graceful)
}

/// A program with a directory of its own, or begun anew, replaced what another had published in the
/// same interval.
#[test]
fn what_was_published_is_never_replaced_by_another_program() {
    let disk = SimDisk::new();
    run_one(&disk, "/a", "100 orders of customer A").unwrap();
    for dir in ["/b", "/a-begun-anew"] {
        let error = run_one(&disk, dir, "7 orders of customer B")
            .unwrap_err()
            .to_string();
        for part in [
            "/out/daily-*",
            ".daily.highwater",
            "another prefix",
            "output o",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
    assert_eq!(
        written(&disk),
        (vec!["100 orders of customer A".to_owned()], 0)
    );
    run_one(&disk, "/a", "and 1 more").unwrap();
    let both = ["100 orders of customer A", "and 1 more"];
    assert_eq!(written(&disk), (both.map(str::to_owned).to_vec(), 0));
}

#[test]
fn two_outputs_of_one_program_need_two_prefixes_and_one_may_begin_with_the_other() {
    let disk = SimDisk::new();
    let error = program(&disk, "/a", &[("one", "/out/x"), ("two", "/out/../out/x")]).unwrap_err();
    assert!(
        error.to_string().contains("cannot share a prefix"),
        "{error}"
    );
    let outputs = [
        ("a", "/out/y"),
        ("b", "/out/y-1"),
        ("c", "/out/y-3600000-0000000001"),
    ];
    for round in 1..=2 {
        let context = program(&disk, "/b", &outputs).unwrap();
        send(&context, "line");
        context.run_batch().unwrap();
        context.stop(StopMode::Immediate).unwrap();
        assert_eq!(written(&disk), (vec!["line".to_owned(); 3 * round], 0));
    }
}

/// The version before made no markers: its files, and the batch in doubt, go on belonging to their
/// log.
#[test]
fn output_of_the_version_before_goes_on_and_no_other_program_takes_it() {
    let disk = SimDisk::new();
    run_one(&disk, "/a", "one").unwrap();
    disk.remove_file(Path::new("/out/.daily.highwater"))
        .unwrap();
    let error = run_one(&disk, "/b", "theirs").unwrap_err().to_string();
    assert!(error.contains("/out/daily-3600000-0000000001"), "{error}");
    run_one(&disk, "/a", "two").unwrap();
    assert_eq!(
        written(&disk),
        (vec!["one".to_owned(), "two".to_owned()], 0)
    );
}

#[test]
fn many_small_files_are_warned_of() {
    capture();
    let disk = SimDisk::new();
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(disk))
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .log(wal::Options::new().segment_size(256 << 10))
        .batches(BatchMode::Manual)
        .get_or_create(|ssc| {
            let lines = ssc.input::<String>("lines");
            lines.save_as_text_files("files", "/out/many-small");
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    for n in 1..=1000 {
        assert!(warnings("/out/many-small").is_empty(), "at file {n}");
        send(&context, "a line");
        context.run_batch().unwrap();
    }
    let told = warnings("/out/many-small");
    assert_eq!(told.len(), 1, "{told:?}");
    let says = |what: &str| assert!(told[0].contains(what), "{told:?}");
    says("files=1000");
    says("average=7");
    says("longer batch interval");
}
