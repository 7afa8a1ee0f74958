//! F81, P11: whole directories as versions 1 and 2 of the engine's records wrote them (log, engine
//! records, state, checkpoints), with two checkpoints, a committed batch behind them, a cut batch
//! and acknowledged lines in no batch. Every later version opens them.
//!
//! `HIGHWATER_WRITE_GOLDEN=1 cargo test --test facade golden_directory` writes the newest one
//! again, which only a new format may need. The older ones are never written again.
#![expect(
    clippy::disallowed_methods,
    reason = "this test copies a directory of the source tree"
)]

use highwater::disk::{Disk, ManualClock, SimDisk};
use highwater::prelude::*;
use highwater::{BatchMode, Builder, wal};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

type Counts = Arc<Mutex<Vec<(String, u64)>>>;

/// The version that is written.
const NEWEST: u8 = 2;

fn golden(version: u8) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}"))
}

fn open(dir: &Path, counts: &Counts) -> StreamingContext {
    open_with(StreamingContext::builder(dir), counts).unwrap()
}

/// The program that wrote the golden directories, with the settings of a builder.
fn open_with(builder: Builder, counts: &Counts) -> highwater::Result<StreamingContext> {
    let counts = Arc::clone(counts);
    builder
        .application("golden")
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .log(
            wal::Options::new()
                .segment_size(16 << 10)
                .background(wal::Background::Inline),
        )
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(2))
        .key_groups(16)
        .get_or_create(move |ssc| {
            let words = ssc
                .input::<String>("lines")
                .flat_map(|line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .map(|word| (word, 1_u64));
            words
                .map_with_state("last seen", |_, n, state: &mut KeyState<'_, u64>| {
                    let seen = state.get().copied().unwrap_or(0) + n;
                    state.update(seen);
                    seen
                })
                .for_each_batch("nothing", |_, _| ());
            words
                .update_state_by_key("counts", |_, new, total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
                .for_each_batch("collect", move |_, mut records| {
                    records.sort();
                    *counts.lock().unwrap() = records;
                });
            Ok(())
        })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Five batches of one line and one line more; what is copied is what a kill would leave.
fn write() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path().join("app");
    let context = open(&dir, &Counts::default());
    context.start().unwrap();
    let input = context.input::<String>("lines").unwrap();
    for number in 0..6 {
        let line = format!("all n{} n{number}", number % 2);
        input
            .send_once("golden", number, &line)
            .unwrap()
            .wait()
            .unwrap();
        if number < 5 {
            context.run_batch().unwrap();
        }
    }
    let _ = fs::remove_dir_all(golden(NEWEST));
    copy(&dir, &golden(NEWEST));
}

/// A retry of the last line of a golden directory.
fn retry(context: &StreamingContext) -> bool {
    let input = context.input::<String>("lines").unwrap();
    let ack = input
        .send_once("golden", 5, &"all n1 n5".to_owned())
        .unwrap();
    let is_duplicate = ack.is_duplicate();
    ack.wait().unwrap();
    is_duplicate
}

/// Opens the directory of `version` and goes on in it: by a kill, whose log has records of both
/// versions, and by a stop, whose checkpoint is of the newest one.
fn goes_on(version: u8) {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path().join("app");
    copy(&golden(version), &dir);
    let counts = Counts::default();
    let context = open(&dir, &counts);
    assert_eq!(
        context.lineage().checkpoint,
        Some((2, 4)),
        "{}",
        context.lineage()
    );
    // The keys of version 1 are in the groups of another hash; their types are what they were.
    let states = &context.recovered().states;
    assert_eq!(states.len(), 2);
    assert!(states.iter().all(|s| s.keys > 0 && s.moved_keys == 0));
    let found = context.recovered();
    assert_eq!(found.record_versions, Some((version, version)));
    // The fifth batch was committed; the sixth line is in no batch.
    assert_eq!((found.batches_to_replay, found.committed), (1, Some(5)));
    assert_eq!(found.incomplete, []);
    let last_tick_ms = found.last_tick_ms.unwrap();
    context.start().unwrap();
    // The producer table is part of the format: a retry is recognised.
    assert!(retry(&context));
    let batch = context.run_batch().unwrap();
    assert_eq!((batch.id, batch.time_ms), (6, last_tick_ms + 1000));
    let expected = [
        ("all", 6),
        ("n0", 4),
        ("n1", 4),
        ("n2", 1),
        ("n3", 1),
        ("n4", 1),
        ("n5", 1),
    ];
    let expected = expected.map(|(word, count)| (word.to_owned(), count));
    assert_eq!(*counts.lock().unwrap(), expected);
    // A kill: the log has what both versions wrote.
    let killed = scratch.path().join("killed");
    copy(&dir, &killed);
    drop(context);
    for (dir, stopped) in [(&killed, false), (&killed, true)] {
        counts.lock().unwrap().clear();
        let context = open(dir, &counts);
        if !stopped {
            let newest = context
                .recovered()
                .record_versions
                .map(|(_, newest)| newest);
            assert_eq!(newest, Some(NEWEST));
        }
        context.start().unwrap();
        assert!(retry(&context));
        context.run_batch().unwrap();
        assert_eq!(*counts.lock().unwrap(), expected, "stopped: {stopped}");
        context.stop(StopMode::Graceful).unwrap();
    }
}

#[test]
fn a_directory_of_version_1_opens_and_goes_on() {
    goes_on(1);
}

#[test]
fn a_directory_of_version_2_opens_and_goes_on() {
    if std::env::var_os("HIGHWATER_WRITE_GOLDEN").is_some() {
        write();
    }
    goes_on(2);
}

/// The fifth batch of version 1 has the time of the four before it: the clock stood still, and
/// version 1 had no ticks. In version 2 each has its own.
#[test]
fn ticks_ascend_from_version_2_on() {
    for (version, ticks) in [(1, 1), (2, 5)] {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = scratch.path().join("app");
        copy(&golden(version), &dir);
        let context = open(&dir, &Counts::default());
        let found = context.recovered();
        let last_ms = 1_700_000_000_000 + (ticks - 1) * 1000;
        assert_eq!(found.last_tick_ms, Some(last_ms));
        assert_eq!(found.zero_ms, Some(1_700_000_000_000 - 1000));
    }
}

/// A golden directory as `/app` on a simulated disk.
fn on_simulated_disk(version: u8) -> SimDisk {
    fn put(from: &Path, to: &Path, disk: &SimDisk) {
        disk.create_dir_all(to).unwrap();
        disk.sync_dir(to.parent().unwrap()).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                put(&entry.path(), &target, disk);
            } else {
                disk.put_file(target, fs::read(entry.path()).unwrap());
            }
        }
    }
    let disk = SimDisk::new();
    put(&golden(version), Path::new("/app"), &disk);
    disk
}

/// F83: the power fails while a newer version takes over the directory of an older one, which it
/// then opens all the same.
#[test]
fn an_upgrade_survives_a_power_cut_anywhere() {
    let run = |disk: &SimDisk, counts: &Counts| -> highwater::Result<()> {
        let builder = StreamingContext::builder("/app").disk(Arc::new(disk.clone()));
        let context = open_with(builder, counts)?;
        context.start()?;
        context.run_batch()?;
        context.stop(StopMode::Graceful)
    };
    for version in 1..=NEWEST {
        let old = on_simulated_disk(version);
        let whole = old.snapshot();
        let counts = Counts::default();
        run(&whole, &counts).unwrap();
        let expected = counts.lock().unwrap().clone();
        assert!(expected.contains(&("all".to_owned(), 6)), "{expected:?}");
        let steps = whole.mutations();
        assert!(steps > 20, "only {steps} operations are cut");
        for cut in 0..steps {
            let disk = old.snapshot();
            disk.cut_power_before(cut);
            let _ = run(&disk, &Counts::default());
            let disk = disk.restart_after_power_cut(cut);
            let counts = Counts::default();
            run(&disk, &counts).unwrap_or_else(|e| panic!("version {version}, cut {cut}: {e}"));
            let counts = counts.lock().unwrap();
            assert_eq!(*counts, expected, "version {version}, cut {cut}");
        }
    }
}
