//! Checkpoints in a store that the program chooses.

use crate::common::{Seen, builder, send, sorted, unseeded, word_count};
use crate::saved_seeds;
use highwater_engine::checkpoint::testing::{MemoryStore, UnreliableStore};
use highwater_engine::checkpoint::{CheckpointError, LocalStore, Store};
use highwater_engine::wal::disk::OsDisk;
use highwater_engine::wal::disk::{Disk, SimDisk};
use highwater_engine::{CheckpointPolicy, Error, Mismatch, StopMode, StreamingContext};
use std::path::Path;
use std::sync::Arc;

fn open(disk: &SimDisk, elsewhere: &SimDisk, seen: &Seen) -> StreamingContext {
    let seen = Arc::clone(seen);
    let store = LocalStore::new(Arc::new(elsewhere.clone()), "/elsewhere");
    builder(disk, 2)
        .checkpoint(CheckpointPolicy::every_batches(1))
        .checkpoint_store(Arc::new(store))
        .get_or_create(move |ssc| {
            word_count(ssc).for_each_batch("collect", move |batch, records| {
                seen.lock().insert(batch.id, records);
            });
            Ok(())
        })
        .unwrap()
}

#[test]
fn state_is_restored_from_the_store_that_the_program_chose() {
    let (disk, elsewhere, seen) = (SimDisk::new(), SimDisk::new(), Seen::default());
    let context = open(&disk, &elsewhere, &seen);
    context.start().unwrap();
    for _ in 0..3 {
        send(&context, "to be or not to be");
        context.run_batch().unwrap();
    }
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    assert!(elsewhere.list(Path::new("/elsewhere")).unwrap().len() > 1);
    assert!(disk.list(Path::new("/app/checkpoints")).is_err());

    let context = open(&disk, &elsewhere, &seen);
    let restored = context.recovered();
    assert_eq!(
        (restored.states[0].keys, restored.batches_to_replay),
        (4, 0)
    );
    context.start().unwrap();
    send(&context, "be");
    let batch = context.run_batch().unwrap();
    let counts = sorted(&seen.lock()[&batch.id]);
    assert_eq!(counts[0], ("be".to_owned(), 7));
}

/// The same, by URL.
#[test]
fn a_url_is_a_store() {
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("file://{}/a%20place", elsewhere.path().display());
    let disk = SimDisk::new();
    let program = || {
        let built = builder(&disk, 2).checkpoint(CheckpointPolicy::every_batches(1));
        let built = built.checkpoint_url("nonsense").checkpoint_url(&url);
        built.get_or_create(|ssc| {
            word_count(ssc).for_each_batch("collect", |_, _| {});
            Ok(())
        })
    };
    let context = program().unwrap();
    context.start().unwrap();
    send(&context, "to be or not to be");
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let place = elsewhere.path().join("a place");
    assert!(OsDisk::new().list(&place).unwrap().len() > 1);
    assert!(disk.list(Path::new("/app/checkpoints")).is_err());
    assert_eq!(program().unwrap().recovered().states[0].keys, 4);
}

/// A start that has no place for checkpoints does not begin, and its error repeats no password.
#[test]
fn a_url_that_cannot_be_used_is_refused_before_anything_is_written() {
    for (url, told) in [
        (
            "s3://me:hunter2@bucket",
            "checkpoint_url: this s3:// URL holds a user name",
        ),
        ("ftp://host/dir", "checkpoint_url: ftp:// is not known"),
        ("dir", "checkpoint_url: this is no URL"),
    ] {
        let disk = SimDisk::new();
        let error = builder(&disk, 1)
            .checkpoint_url(url)
            .get_or_create(|_| Ok(()));
        let error = error.map(drop).unwrap_err().to_string();
        assert!(
            error.starts_with(told) && !error.contains("hunter2"),
            "{error}"
        );
        assert_eq!(disk.mutations(), 0);
    }
}

/// The word count over a store of whose calls one in fifteen goes wrong: calls that fail, answers
/// that are lost, changes that come late, listings that lack files. The program is cut off again
/// and again. Every batch counts once, whatever checkpoint a start finds.
#[test]
fn an_unreliable_store_costs_checkpoints_and_no_record() {
    let mut restored = 0;
    for seed in saved_seeds::seeds(0..12) {
        let mut disk = SimDisk::new();
        let store = Arc::new(UnreliableStore::new(Arc::new(MemoryStore::new()), seed, 15));
        let seen = Seen::default();
        let (mut sent, mut life) = (0_u64, 0);
        while sent < 40 {
            life += 1;
            assert!(life < 1000, "no start succeeds");
            let collected = Arc::clone(&seen);
            let built = unseeded(&disk, 1)
                .seed(1000 + life)
                .checkpoint_store(store.clone());
            let built = built.checkpoint(CheckpointPolicy::every_batches(2));
            let opened = built.get_or_create(move |ssc| {
                word_count(ssc).for_each_batch("collect", move |batch, records| {
                    collected.lock().insert(batch.id, records);
                });
                Ok(())
            });
            let context = match opened {
                Ok(context) => context,
                // A store that cannot be read is no reason to begin without its checkpoints.
                Err(Error::Checkpoint(CheckpointError::Io { .. })) => continue,
                Err(other) => panic!("seed {seed}: {other}"),
            };
            restored += u64::from(context.recovered().checkpoint.is_some());
            context.start().unwrap();
            for _ in 0..7 {
                // Long enough for the log to be truncated soon.
                send(&context, &format!("be{}", " ".repeat(3000)));
                sent += 1;
                context.run_batch().unwrap();
                let newest = seen.lock().values().next_back().cloned().unwrap();
                assert_eq!(
                    newest,
                    [("be".to_owned(), sent)],
                    "seed {seed}, life {life}"
                );
            }
            disk.cut_power_now();
            drop(context);
            disk = disk.restart_after_power_cut(life);
        }
    }
    assert!(
        restored > 12,
        "hardly any start found a checkpoint: {restored}"
    );
}

/// A store outlives the disk of the log. Its checkpoints do not go with the log that begins then,
/// and nothing of them is removed.
#[test]
fn checkpoints_without_their_log_are_refused() {
    let (store, seen) = (Arc::new(MemoryStore::new()), Seen::default());
    let start = |disk: &SimDisk| {
        let seen = Arc::clone(&seen);
        let built = unseeded(disk, 1).checkpoint(CheckpointPolicy::every_batches(1));
        built
            .checkpoint_store(store.clone())
            .get_or_create(move |ssc| {
                word_count(ssc).for_each_batch("collect", move |batch, records| {
                    seen.lock().insert(batch.id, records);
                });
                Ok(())
            })
    };
    let context = start(&SimDisk::new()).unwrap();
    context.start().unwrap();
    send(&context, "to be");
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let files = store.list().unwrap();
    let refused = start(&SimDisk::new()).map(drop).unwrap_err();
    let gone = matches!(refused, Error::Mismatch(Mismatch::LogGone(_)));
    assert!(gone, "{refused}");
    assert_eq!(store.list().unwrap(), files);
}
