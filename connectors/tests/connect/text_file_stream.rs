//! Files that appear in a directory: every line once, whatever happens to the program and to the
//! files.

use crate::common::{Collected, open, stats};
use crate::hooked::{Hooked, Moment};
use crate::incoming::{machine, move_in};
use highwater_connectors::Sources;
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::wal::disk::{Access, Disk, SimDisk};
use highwater_engine::{BatchMode, BoxError, Error, Result, StopMode, StreamingContext, wal};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn try_watch(disk: impl Disk, collected: &Collected) -> Result<StreamingContext> {
    let context = open(Arc::new(disk), BatchMode::Clock, collected, |ssc| {
        ssc.text_file_stream("files", "/in")
    })?;
    context.start()?;
    Ok(context)
}

fn watch(disk: &SimDisk, collected: &Collected) -> StreamingContext {
    try_watch(disk.clone(), collected).unwrap()
}

/// Stops as a crash would not: everything stored is processed.
fn finish(context: StreamingContext) {
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
}

#[test]
fn files_are_read_in_order_once_also_those_that_came_while_the_program_was_down() {
    let (disk, collected) = (machine(), Collected::default());
    disk.set_time_ms(2000);
    move_in(&disk, "a", "later 1\nlater 2");
    disk.set_time_ms(1000);
    move_in(&disk, "z", "early\r\n\n");
    for ignored in [".hidden", "half.tmp", "x._COPYING_"] {
        move_in(&disk, ignored, "no\n");
    }
    disk.create_dir_all(Path::new("/in/deeper")).unwrap();
    let context = watch(&disk, &collected);
    let mut expected = vec!["early", "", "later 1", "later 2"];
    assert_eq!(collected.wait_for(4), expected);
    move_in(&disk, "b", "while running\n");
    expected.push("while running");
    assert_eq!(collected.wait_for(5), expected);
    finish(context);
    move_in(&disk, "c", "while down\n");
    let context = watch(&disk, &collected);
    expected.push("while down");
    assert_eq!(collected.wait_for(6), expected);
    assert_eq!(
        (stats(&context).stored, stats(&context).duplicates),
        (1, 0),
        "the others were not read again"
    );
    finish(context);
    assert_eq!(collected.lines(), expected);
}

#[test]
fn bad_lines_are_counted_with_their_place_and_reading_goes_on() {
    let (disk, collected) = (machine(), Collected::default());
    let huge = vec![b'x'; 3 << 20];
    move_in(
        &disk,
        "a",
        [&b"one\n"[..], &huge, b"\ncaf\xe9\ntwo\n", &huge].concat(),
    );
    move_in(&disk, "b", b"\xff\xfe\n".to_vec());
    move_in(&disk, "c", "");
    let context = watch(&disk, &collected);
    assert_eq!(collected.wait_for(2), ["one", "two"]);
    move_in(&disk, "d", "three");
    assert_eq!(collected.wait_for(3), ["one", "two", "three"]);
    assert_eq!(stats(&context).skipped, 4);
    finish(context);
    // Files that end in skipped lines, or have no others, are known to be done.
    let context = watch(&disk, &collected);
    move_in(&disk, "e", "four");
    assert_eq!(collected.wait_for(4).last().unwrap(), "four");
    assert_eq!(stats(&context).skipped, 0);
    finish(context);
}

#[test]
fn a_file_that_vanishes_before_it_is_opened_is_an_error_with_its_name() {
    let (disk, collected) = (machine(), Collected::default());
    move_in(&disk, "a", "gone\n");
    move_in(&disk, "b", "here\n");
    let hooked = Hooked::new(&disk, |disk, moment, path| {
        if moment == Moment::BeforeOpen && path == Path::new("/in/a") {
            disk.delete_file(path);
        }
    });
    let context = try_watch(hooked, &collected).unwrap();
    assert_eq!(collected.wait_for(1), ["here"]);
    assert_eq!(stats(&context).errors, 1);
    finish(context);
}

fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{name} {i}")).collect()
}

#[test]
fn a_file_that_is_deleted_while_it_is_read_is_read_to_its_end() {
    let (disk, collected) = (machine(), Collected::default());
    let lines = numbered("line", 20_000);
    move_in(&disk, "a", lines.join("\n"));
    let hooked = Hooked::new(&disk, |disk, moment, path| {
        if moment == Moment::BeforeRead && path.starts_with("/in") {
            disk.delete_file(path);
        }
    });
    let context = try_watch(hooked, &collected).unwrap();
    assert!(collected.wait_for(lines.len()) == lines);
    assert_eq!(stats(&context).errors, 0);
    finish(context);
}

#[test]
fn a_file_that_is_truncated_while_it_is_read_is_an_error_and_what_was_read_stays() {
    let (disk, collected) = (machine(), Collected::default());
    let lines = numbered("line", 20_000);
    move_in(&disk, "a", lines.join("\n"));
    let mut reads = 0;
    let hooked = Hooked::new(&disk, move |disk, moment, path| {
        reads += usize::from(moment == Moment::BeforeRead && path.starts_with("/in"));
        if reads == 3 {
            reads += 1;
            disk.open(path, Access::ReadWrite)
                .unwrap()
                .set_len(7)
                .unwrap();
        }
    });
    let context = try_watch(hooked, &collected).unwrap();
    // Two reads of 8 and 16 KiB; then what is left counts as a new file.
    let found = collected.wait_for(1500);
    assert!(lines.starts_with(&found) || found.last().unwrap() == "line 0\n".trim());
    while stats(&context).stored == found.len() as u64 {
        std::thread::yield_now();
    }
    finish(context);
    let all = collected.lines();
    let (rest, stored) = all.split_last().unwrap();
    assert_eq!(rest, "line 0", "the seven bytes that were left");
    assert!(lines.starts_with(stored) && stored.len() >= 1500);
}

#[test]
fn a_file_that_cannot_be_read_for_a_while_holds_up_no_other_and_is_read_later() {
    let (disk, collected) = (machine(), Collected::default());
    move_in(&disk, "a", "sick\n");
    move_in(&disk, "b", "well\n");
    disk.fail(Fault::new(Call::Read, FaultKind::Eio).on("/in/a"));
    let context = watch(&disk, &collected);
    assert_eq!(collected.wait_for(2), ["well", "sick"]);
    assert_eq!(stats(&context).errors, 1);
    finish(context);
}

/// What is promised about files that change: nothing is lost, and the whole file comes again.
#[test]
fn a_file_that_grows_after_it_was_read_is_read_again_from_its_beginning() {
    let (disk, collected) = (machine(), Collected::default());
    move_in(&disk, "a", "one\n");
    let context = watch(&disk, &collected);
    assert_eq!(collected.wait_for(1), ["one"]);
    move_in(&disk, "a", "one\ntwo\n");
    assert_eq!(collected.wait_for(3), ["one", "one", "two"]);
    finish(context);
}

#[test]
fn a_missing_directory_keeps_the_context_from_starting_and_is_named() {
    let error = try_watch(SimDisk::new(), &Collected::default()).unwrap_err();
    assert!(matches!(error, Error::Source { .. }));
    assert!(error.to_string().contains("/in"), "{error}");
    let disk = SimDisk::new();
    disk.put_file("/in", "a file");
    assert!(try_watch(disk, &Collected::default()).is_err());
}

/// Batches are cut early and reading waits for them, so that cuts, commits and syncs fall between
/// the parts of a file.
fn watch_closely(disk: &SimDisk, collected: &Collected) -> Result<StreamingContext> {
    let collected = collected.clone();
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(disk.clone()))
        .log(wal::Options::new().segment_size(256 << 10))
        .batch_interval(Duration::from_millis(5))
        .max_batch_bytes(4 << 10)
        .max_unprocessed_bytes(8 << 10)
        .get_or_create(move |ssc| {
            let lines = ssc.text_file_stream("files", "/in");
            lines.for_each_batch("collect", move |batch, lines| {
                collected.put_lines(batch.id, lines)
            });
            Ok::<(), BoxError>(())
        })?;
    context.start()?;
    Ok(context)
}

/// The power goes off before every mutation of reading two files; after the restart every line was
/// processed once.
#[test]
fn every_line_is_processed_once_whenever_the_power_goes_off() {
    let expected = [numbered("a", 8000), numbered("b", 5)].concat();
    let (mut cuts, mut half_read) = (0, 0);
    for cut in 0.. {
        let (disk, collected) = (machine(), Collected::default());
        move_in(&disk, "a", numbered("a", 8000).join("\n"));
        move_in(&disk, "b", numbered("b", 5).join("\r\n"));
        disk.cut_power_before(disk.mutations() + cut);
        let first: Result<()> = watch_closely(&disk, &collected).and_then(|context| {
            while collected.lines().len() < expected.len() && disk.is_alive() {
                std::thread::yield_now();
            }
            context.stop(StopMode::Graceful)
        });
        let off = !disk.is_alive();
        disk.cut_power_now();
        assert!(first.is_err() || collected.lines() == expected);
        for seed in 0..3 {
            let (disk, collected) = (disk.restart_after_power_cut(seed), collected.fork());
            let context = watch_closely(&disk, &collected).unwrap();
            collected.wait_for(expected.len());
            half_read += usize::from((6..expected.len() as u64).contains(&stats(&context).stored));
            finish(context);
            let lines = collected.lines();
            assert!(
                lines == expected,
                "cut {cut}, seed {seed}: {} lines",
                lines.len()
            );
        }
        if !off {
            break;
        }
        cuts += 1;
    }
    assert!(
        cuts > 20 && half_read > 10,
        "{cuts} cuts, {half_read} in the middle of the file"
    );
}

/// The engine remembers a bounded number of producers; a file that is still there must not be among
/// the forgotten.
#[test]
fn a_file_that_stays_is_not_read_again_after_many_others_came_and_went() {
    let (disk, collected) = (machine(), Collected::default());
    let log = wal::Options::new().segment_size(1 << 20);
    let start = || {
        let collect = collected.clone();
        let context = StreamingContext::builder("/app")
            .disk(Arc::new(disk.clone()))
            .log(log.clone())
            .batch_interval(Duration::from_millis(20))
            .get_or_create(move |ssc| {
                ssc.text_file_stream("files", "/in").for_each_batch(
                    "collect",
                    move |batch, lines| {
                        collect.put_lines(batch.id, lines);
                    },
                );
                Ok::<(), BoxError>(())
            })
            .unwrap();
        context.start().unwrap();
        context
    };
    move_in(&disk, "stays", "once\n");
    let context = start();
    let mut count = 1;
    collected.wait_for(count);
    for round in 0..7 {
        let names: Vec<String> = (0..10_000).map(|i| format!("{round}-{i}")).collect();
        names
            .iter()
            .for_each(|name| disk.put_file(Path::new("/in").join(name), "x\n"));
        count += names.len();
        collected.wait_for(count);
        names
            .iter()
            .for_each(|name| disk.delete_file(Path::new("/in").join(name)));
    }
    finish(context);
    let context = start();
    move_in(&disk, "last", "last\n");
    collected.wait_for(count + 1);
    finish(context);
    let lines = collected.lines();
    assert_eq!(lines.iter().filter(|line| *line == "once").count(), 1);
    assert_eq!(lines.len(), count + 1);
}
