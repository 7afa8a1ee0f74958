//! The seed of the hash of keys: drawn once for an application, and kept for ever. It decides the
//! order in which keys are visited, so a second draw would show.

use crate::common::{Seen, send, unseeded, word_count};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{StopMode, StreamingContext, key_group};
use std::sync::Arc;

const KEYS: usize = 60;

/// A context of the word count that draws its seed from `seed`, or by chance.
fn open(disk: &SimDisk, seed: Option<u64>, seen: &Seen) -> StreamingContext {
    let seen = Arc::clone(seen);
    let mut builder = unseeded(disk, 2);
    if let Some(seed) = seed {
        builder = builder.seed(seed);
    }
    let context = builder
        .get_or_create(move |ssc| {
            word_count(ssc).for_each_batch("collect", move |batch, records: Vec<(String, u64)>| {
                seen.lock().insert(batch.id, records);
            });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    context
}

/// Stores a line of all keys, runs a batch, and returns the order in which its keys came out.
fn order(context: &StreamingContext, seen: &Seen) -> Vec<String> {
    let line: Vec<String> = (0..KEYS).map(|n| format!("key{n}")).collect();
    send(context, &line.join(" "));
    let batch = context.run_batch().unwrap();
    let records = seen.lock().remove(&batch.id).unwrap();
    records.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn the_seed_is_drawn_once_and_outlives_restarts_and_the_log_that_held_it() {
    let (disk, seen) = (SimDisk::new(), Seen::default());
    let context = open(&disk, None, &seen);
    let first = order(&context, &seen);
    assert_eq!(first.len(), KEYS);
    let disk = disk.kill_process(); // nothing but the log has the seed
    drop(context);

    let context = open(&disk, None, &seen);
    assert_eq!(order(&context, &seen), first);
    // Many batches and checkpoints later the log begins behind the entry that held it.
    while context.log().first_lsn().get() < 64 << 10 {
        assert_eq!(order(&context, &seen), first);
    }
    context.stop(StopMode::Immediate).unwrap();
    drop(context);

    let context = open(&disk, None, &seen);
    assert!(context.recovered().checkpoint.is_some());
    let moved: u64 = context
        .recovered()
        .states
        .iter()
        .map(|s| s.moved_keys)
        .sum();
    assert_eq!(moved, 0);
    assert_eq!(order(&context, &seen), first);
}

#[test]
fn two_applications_draw_two_seeds_and_one_given_is_used() {
    let order = |seed| {
        let seen = Seen::default();
        order(&open(&SimDisk::new(), seed, &seen), &seen)
    };
    assert_ne!(order(None), order(None));
    assert_eq!(order(Some(5)), order(Some(5)));
    let mut expected: Vec<String> = (0..KEYS).map(|n| format!("key{n}")).collect();
    expected.sort_by_key(|key| key_group(key, 8, 5).unwrap());
    assert_eq!(order(Some(5)), expected);
}
