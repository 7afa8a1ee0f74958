//! F81, P11: a whole directory as version 1 of the formats wrote it (log, engine records, state,
//! checkpoints), with two checkpoints, a committed batch behind them, a cut batch and acknowledged
//! lines in no batch. Every later version opens it.
//!
//! `HIGHWATER_WRITE_GOLDEN=1 cargo test --test golden_directory` writes it again, which only a new
//! format may need.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "this test copies a directory of the source tree"
)]

use highwater::disk::ManualClock;
use highwater::prelude::*;
use highwater::{BatchMode, wal};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

type Counts = Arc<Mutex<Vec<(String, u64)>>>;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn open(dir: &Path, counts: &Counts) -> StreamingContext {
    let counts = Arc::clone(counts);
    StreamingContext::builder(dir)
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
        .unwrap()
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
    let _ = fs::remove_dir_all(golden());
    copy(&dir, &golden());
}

#[test]
fn a_directory_of_version_1_opens_and_goes_on() {
    if std::env::var_os("HIGHWATER_WRITE_GOLDEN").is_some() {
        write();
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path().join("app");
    copy(&golden(), &dir);
    let counts = Counts::default();
    let context = open(&dir, &counts);
    assert_eq!(
        context.lineage().checkpoint,
        Some((2, 4)),
        "{}",
        context.lineage()
    );
    // Its keys are in the groups of another hash, and their types are what they were.
    let states = &context.recovered().states;
    assert_eq!(states.len(), 2);
    assert!(states.iter().all(|s| s.keys > 0 && s.moved_keys == 0));
    context.start().unwrap();
    let input = context.input::<String>("lines").unwrap();
    // The producer table is part of the format: a retry is recognised.
    input
        .send_once("golden", 5, &"all n1 n5".to_owned())
        .unwrap()
        .wait()
        .unwrap();
    let batch = context.run_batch().unwrap();
    assert_eq!(batch.id, 6);
    let expected = [
        ("all", 6),
        ("n0", 4),
        ("n1", 4),
        ("n2", 1),
        ("n3", 1),
        ("n4", 1),
        ("n5", 1),
    ];
    assert_eq!(
        *counts.lock().unwrap(),
        expected.map(|(word, count)| (word.to_owned(), count))
    );
    context.stop(StopMode::Graceful).unwrap();
}
