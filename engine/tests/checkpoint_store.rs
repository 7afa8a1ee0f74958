//! Checkpoints in a store that the program chooses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

mod common;

use common::{Seen, builder, send, sorted, word_count};
use highwater_engine::checkpoint::LocalStore;
use highwater_engine::wal::disk::{Disk, SimDisk};
use highwater_engine::{CheckpointPolicy, StopMode, StreamingContext};
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
