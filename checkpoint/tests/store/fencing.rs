//! Two engines on one store, and stores whose answers get lost (F57 to F59).

use crate::common;
use crate::common::{MemStore, Trouble, WRITER, check, filled, lsn, options, publish};
use highwater_checkpoint::{CheckpointError, Checkpoints, Options, Ownership};
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn shared(writer: u64) -> Options {
    Options {
        ownership: Ownership::Shared,
        ..options(writer)
    }
}

/// F59: the second writer that publishes the same number has lost, and nothing of the winner is
/// touched.
#[test]
fn the_second_writer_of_a_number_is_fenced() {
    let store = filled(2);
    let mut zombie = Checkpoints::open(store.clone(), shared(0xa)).unwrap();
    let mut successor = Checkpoints::open(store.clone(), shared(0xb)).unwrap();
    publish(&mut successor, 3).unwrap();
    let winners = store.names("0000000003");
    let error = publish(&mut zombie, 3).unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::Fenced {
                number: 3,
                writer: 0xb
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("writer (000000000000000b)"),
        "{error}"
    );
    // It stays fenced: it can neither go on with the next number nor remove anything.
    assert!(matches!(
        publish(&mut zombie, 4),
        Err(CheckpointError::Fenced { .. })
    ));
    assert!(matches!(
        zombie.retire(),
        Err(CheckpointError::Fenced { .. })
    ));
    assert!(winners.iter().all(|name| store.names("").contains(name)));
    check(&successor.newest().unwrap().unwrap(), 3);
    publish(&mut successor, 4).unwrap();
    successor.retire().unwrap();
    check(&successor.newest().unwrap().unwrap(), 4);
}

/// F59: a writer that was overtaken learns it before it removes anything or lets its log go.
#[test]
fn an_overtaken_writer_retires_nothing() {
    for ahead in [1, 4] {
        let store = filled(2);
        let mut zombie = Checkpoints::open(store.clone(), shared(0xa)).unwrap();
        publish(&mut zombie, 3).unwrap();
        let mut successor = Checkpoints::open(store.clone(), shared(0xb)).unwrap();
        for n in 4..4 + ahead {
            publish(&mut successor, n).unwrap();
            successor.retire().unwrap();
        }
        let before = store.files.lock().unwrap().clone();
        let error = zombie.retire().unwrap_err();
        assert!(
            matches!(error, CheckpointError::Fenced { writer: 0xb, .. }),
            "{error}"
        );
        assert_eq!(*store.files.lock().unwrap(), before);
    }
}

/// F57: the store did it, and returned nothing, or "exists already" when asked again.
#[test]
fn a_lost_answer_is_not_a_conflict() {
    for name in ["state-0000000003", "manifest-0000000003"] {
        let store = filled(2);
        let mut checkpoints = Checkpoints::open(store.clone(), shared(WRITER)).unwrap();
        store.next(name, Trouble::AnswerLostAndRetried);
        assert_eq!(publish(&mut checkpoints, 3).unwrap().number, 3);
        check(&checkpoints.newest().unwrap().unwrap(), 3);
    }
}

/// F57: after a failed publication the manifest may be there or not. Either way the next attempt
/// succeeds, and an unconfirmed checkpoint never counts as one of the two retained.
#[test]
fn a_publication_in_doubt_is_resolved() {
    for (trouble, next) in [
        (Trouble::Refused, 3),
        (Trouble::AskedInVain, 3),
        (Trouble::FalseConflict, 3),
        (Trouble::AnswerLost, 4),
    ] {
        let store = filled(2);
        let mut checkpoints = Checkpoints::open(store.clone(), shared(WRITER)).unwrap();
        store.next("manifest", trouble);
        let error = publish(&mut checkpoints, 3).unwrap_err();
        assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
        assert_eq!(checkpoints.oldest_needed_lsn(), Some(lsn(1)));
        assert_eq!(publish(&mut checkpoints, 4).unwrap().number, next);
        let retired = checkpoints.retire().unwrap();
        assert_eq!(
            (retired.removed, retired.oldest_needed_lsn),
            (vec![1], Some(lsn(2)))
        );
        check(&checkpoints.newest().unwrap().unwrap(), 4);
        publish(&mut checkpoints, 5).unwrap();
        checkpoints.retire().unwrap();
        assert_eq!(store.names("manifest").len(), 2);
        let live = store.names("state").len();
        publish(&mut checkpoints, 6).unwrap();
        checkpoints.retire().unwrap();
        assert!(store.names("state").len() <= live + 2, "nothing piles up");
    }
}

/// A writer that knew that it is fenced forgot it when the number after its own was retired and a
/// stale listing lacked the newer ones. It could publish and retire again.
#[test]
fn a_fenced_writer_stays_so_whatever_a_listing_shows() {
    for learns_by_publishing in [true, false] {
        let store = filled(2);
        let mut zombie = Checkpoints::open(store.clone(), shared(0xa)).unwrap();
        let mut successor = Checkpoints::open(store.clone(), shared(0xb)).unwrap();
        publish(&mut successor, 3).unwrap();
        if learns_by_publishing {
            publish(&mut zombie, 3).unwrap_err();
        } else {
            zombie.retire().unwrap_err();
        }
        for n in 4..=6 {
            publish(&mut successor, n).unwrap();
            successor.retire().unwrap();
        }
        *store.unlisted.lock().unwrap() = store.names("");
        let before = store.files.lock().unwrap().clone();
        for error in [
            zombie.retire().map(drop).unwrap_err(),
            publish(&mut zombie, 3).map(drop).unwrap_err(),
        ] {
            let fenced = matches!(error, CheckpointError::Fenced { writer: 0xb, .. });
            assert!(fenced, "{error}");
        }
        assert_eq!(*store.files.lock().unwrap(), before);
    }
}

/// A manifest whose creation had timed out arrived after it was looked for. The writer took it for
/// that of another, and its engine would have stopped.
#[test]
fn a_late_publication_of_its_own_fences_nobody() {
    let store = filled(2);
    let mut checkpoints = Checkpoints::open(store.clone(), shared(WRITER)).unwrap();
    store.next("manifest", Trouble::Late);
    publish(&mut checkpoints, 3).unwrap_err();
    checkpoints.retire().unwrap();
    store.let_late_ones_come();
    let retired = checkpoints.retire().unwrap();
    // It does not count: its durability was never confirmed.
    assert_eq!(retired.oldest_needed_lsn, Some(lsn(1)));
    assert_eq!(publish(&mut checkpoints, 4).unwrap().number, 4);
    let retired = checkpoints.retire().unwrap();
    assert_eq!(retired.oldest_needed_lsn, Some(lsn(2)));
    // One of another writer behind it is found all the same.
    store.next("manifest", Trouble::Late);
    publish(&mut checkpoints, 5).unwrap_err();
    checkpoints.retire().unwrap();
    store.let_late_ones_come();
    let mut successor = Checkpoints::open(store.clone(), shared(0xb)).unwrap();
    assert_eq!(publish(&mut successor, 6).unwrap().number, 6);
    *store.unlisted.lock().unwrap() = store.names("");
    let error = checkpoints.retire().unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::Fenced {
                number: 6,
                writer: 0xb
            }
        ),
        "{error}"
    );
}

/// Doubt costs a question to the store; a refusal that is known for certain does not.
#[test]
fn a_known_refusal_leaves_no_doubt() {
    for (trouble, asked) in [(Trouble::Refused, false), (Trouble::AskedInVain, true)] {
        let store = filled(2);
        let mut checkpoints = Checkpoints::open(store.clone(), shared(WRITER)).unwrap();
        store.next("manifest", trouble);
        publish(&mut checkpoints, 3).unwrap_err();
        store.asked.lock().unwrap().clear();
        drop(checkpoints.begin(common::meta(3)).unwrap());
        let manifest = "manifest-0000000003.json".to_owned();
        assert_eq!(store.asked.lock().unwrap().contains(&manifest), asked);
    }
}

/// What this process removed itself, with an answer that was lost, does not count as lost: the log
/// may be truncated as after any removal.
#[test]
fn a_removal_in_doubt_is_resolved() {
    let store = filled(2);
    let mut checkpoints = Checkpoints::open(store.clone(), shared(WRITER)).unwrap();
    publish(&mut checkpoints, 3).unwrap();
    store.removal_unanswered.store(true, Ordering::Relaxed);
    let error = checkpoints.retire().unwrap_err().to_string();
    assert!(
        error.starts_with("cannot remove manifest-0000000001.json"),
        "{error}"
    );
    assert_eq!(checkpoints.oldest_needed_lsn(), Some(lsn(1)));
    let retired = checkpoints.retire().unwrap();
    assert_eq!(
        (retired.removed, retired.oldest_needed_lsn),
        (vec![], Some(lsn(2)))
    );
    assert!(store.names("0000000001").is_empty(), "nothing is left over");
}

/// A process that was given the id of the one before it does not collide with its leftovers.
#[test]
fn the_same_writer_id_again_starts_clean() {
    let store = Arc::new(MemStore::default());
    let mut first = Checkpoints::open(store.clone(), shared(WRITER)).unwrap();
    store.next("manifest", Trouble::Refused);
    publish(&mut first, 1).unwrap_err();
    let mut second = Checkpoints::open(store, shared(WRITER)).unwrap();
    assert_eq!(publish(&mut second, 2).unwrap().number, 1);
    check(&second.newest().unwrap().unwrap(), 2);
}
