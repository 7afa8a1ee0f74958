//! What each batch changes.

use super::{Addition, add, open, open_by_clock, random};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{AskError, Error, StreamingContext};
use std::collections::BTreeMap;
use std::time::Duration;

fn batch(context: &StreamingContext, seed: &mut u64) {
    let input = context.input::<Addition>("added").unwrap();
    for _ in 0..random(seed) % 20 {
        let number = i64::try_from(random(seed) % 7).unwrap();
        let key = format!("k{}", random(seed) % 40);
        input.send(&(key, number)).unwrap().wait().unwrap();
    }
    context.run_batch().unwrap();
}

/// A reader that takes everything once and then applies the changes has what the state has, whether
/// it keeps up or is some batches late.
#[test]
fn the_changes_make_the_state() {
    for workers in [1, 2] {
        let disk = SimDisk::new();
        let context = open(&disk, workers);
        context.start().unwrap();
        let mut seed = 5;
        (0..5).for_each(|_| batch(&context, &mut seed));
        let sums = context.state::<String, i64>("sums").unwrap();
        let mut changes = sums.changes().unwrap();
        let mut copy: BTreeMap<String, i64> =
            sums.range(.., 1000).unwrap().value.into_iter().collect();
        let mut read = changes.read_up_to();
        for _ in 0..60 {
            let mut ends = Vec::new();
            for _ in 0..=random(&mut seed) % 4 {
                batch(&context, &mut seed);
                ends.push(sums.range(.., 1000).unwrap());
            }
            for end in ends {
                let changed = changes.next_batch().unwrap();
                assert_eq!((changed.batch, changed.lsn), (end.batch, end.lsn));
                assert_eq!(changed.batch, read.map(|read| read + 1));
                read = changed.batch;
                for (key, state) in changed.value {
                    match state {
                        Some(state) => copy.insert(key, state),
                        None => copy.remove(&key),
                    };
                }
                assert!(copy.iter().eq(end.value.iter().map(|(k, s)| (k, s))));
            }
        }
    }
}

#[test]
fn a_reader_that_is_too_late_is_told_and_goes_on() {
    let (context, clock) = open_by_clock(&SimDisk::new());
    context.start().unwrap();
    let sums = context.state::<String, i64>("sums").unwrap();
    let mut changes = sums.changes().unwrap();
    let run = |key: &str| {
        add(&context, key, 1);
        context.run_batch().unwrap().id
    };
    run("a");
    clock.advance(Duration::from_secs(11));
    run("b");
    let newest = run("c");
    let error = changes.next_batch().unwrap_err();
    assert!(
        matches!(error, Error::Ask(AskError::SnapshotGone { .. })),
        "{error}"
    );
    let next = run("d");
    let changed = changes.next_batch().unwrap();
    assert_eq!(changed.value, [("d".to_owned(), Some(1))]);
    assert_eq!((changed.batch, newest + 1), (Some(next), next));

    // A large batch is no reason; many changes after it are.
    let input = context.input::<Addition>("added").unwrap();
    for last in [false, true] {
        let many: Vec<Addition> = (0..11_000).map(|n| (format!("n{n}"), 1)).collect();
        many.chunks(100)
            .for_each(|some| input.send_all(some).unwrap().wait().unwrap());
        context.run_batch().unwrap();
        if last {
            many.chunks(100)
                .for_each(|some| input.send_all(some).unwrap().wait().unwrap());
            context.run_batch().unwrap();
            let error = changes.next_batch().unwrap_err();
            assert!(
                matches!(error, Error::Ask(AskError::SnapshotGone { .. })),
                "{error}"
            );
        } else {
            assert_eq!(changes.next_batch().unwrap().value.len(), 11_000);
        }
    }
}
