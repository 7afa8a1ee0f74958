//! Tests of the window of keys.

use super::*;
use crate::engine_log::ledger::{Frames, Ledger, Settled};
use highwater_checkpoint::entries::append;
use proptest::prelude::*;
use std::collections::BTreeMap;

const HOUR_MS: u64 = 3_600_000;

fn mark(key: u64, body: u64, received_ms: u64) -> KeyMark {
    let key = IdempotencyKey {
        key: key.to_le_bytes().to_vec(),
        body_hash: u128::from(body).to_le_bytes(),
    };
    KeyMark::new(&key, received_ms)
}

fn found(keys: &Keys, key: u64, now_ms: u64) -> Option<(u128, u64)> {
    let known = keys.get(&mark(key, 0, now_ms));
    known.map(|known| (known.mark.body, known.lsn.get()))
}

/// As it comes back from a checkpoint.
fn checkpointed(settled: &Settled) -> Settled {
    let mut bytes = Vec::new();
    for item in settled
        .entries()
        .into_iter()
        .rev()
        .flat_map(|(key, value)| [key, value])
    {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(&item);
            Ok::<(), String>(())
        };
        append(&mut bytes, write).unwrap();
    }
    Settled::from_entries(&bytes).unwrap()
}

#[test]
fn a_key_is_found_until_it_is_too_old_and_may_then_be_used_again() {
    let mut keys = Keys::default();
    keys.append(mark(1, 10, 0), Lsn::new(8));
    keys.append(mark(2, 20, HOUR_MS), Lsn::new(16));
    assert_eq!(found(&keys, 1, 24 * HOUR_MS - 1), Some((10, 8)));
    assert_eq!(found(&keys, 1, 24 * HOUR_MS), None);
    assert_eq!(found(&keys, 3, 0), None);
    keys.append(mark(1, 11, 24 * HOUR_MS), Lsn::new(24));
    assert_eq!(found(&keys, 1, 24 * HOUR_MS), Some((11, 24)));
    // A clock that is set back makes keys younger, not older.
    assert_eq!(found(&keys, 2, 0), Some((20, 16)));
}

#[test]
fn memory_is_bounded_and_the_oldest_are_forgotten_first() {
    let mut keys = Keys::default();
    let window = KeyWindow {
        keys: 3 * CHUNK,
        ..KeyWindow::default()
    };
    keys.set_window(window, 0);
    let all = 20 * CHUNK as u64 + 7;
    for key in 0..all {
        keys.append(mark(key, key, 0), Lsn::new(8 * key));
        assert!(keys.len() <= 5 * CHUNK, "{}", keys.len());
        let oldest_kept = key.saturating_sub(window.keys as u64 - 1);
        assert_eq!(
            found(&keys, oldest_kept, 0),
            Some((oldest_kept.into(), 8 * oldest_kept))
        );
    }
    assert_eq!(found(&keys, 0, 0), None);
    assert_eq!(keys.forgotten() + keys.len() as u64, all);
    assert_eq!(keys.places.len(), keys.len());
    // Those that are too old are not missed: they make no number.
    let before = keys.forgotten();
    keys.append(mark(all, 0, 48 * HOUR_MS), Lsn::new(8 * all));
    assert_eq!((keys.len(), keys.forgotten()), (8, before));
    assert_eq!(found(&keys, all, 48 * HOUR_MS), Some((0, 8 * all)));
}

/// Recovery knew the default alone: a receiver that remembers more keys, or older ones, would have
/// counted their retries again after each restart.
#[test]
fn recovery_forgets_nothing_before_the_receiver_has_said_how_much_it_remembers() {
    let default = KeyWindow::default();
    let many = default.keys as u64 + 5 * CHUNK as u64;
    let recovered = || {
        let mut frames = Frames::default();
        for key in 0..many {
            let days = 72 * HOUR_MS * key / many;
            frames.push_key(Lsn::new(key), mark(key, 0, days));
        }
        Ledger::new(Settled::default(), frames)
    };
    let now = 72 * HOUR_MS;
    let mut ledger = recovered();
    let window = KeyWindow {
        keys: 2 * default.keys,
        age: 7 * default.age,
    };
    ledger.keys_mut().set_window(window, now);
    assert!(found(ledger.keys(), 0, now).is_some());
    ledger.settle(Lsn::new(many));
    let mut again = Ledger::new(checkpointed(&ledger.settled()), Frames::default());
    again.keys_mut().set_window(window, now);
    assert!(found(again.keys(), 0, now).is_some());
    let mut ledger = recovered();
    ledger.keys_mut().append(mark(many, 0, now), Lsn::new(many));
    assert_eq!(found(ledger.keys(), 0, now), None, "the default holds");
    assert!(ledger.keys().len() < default.keys);
}

#[test]
fn an_entry_that_is_missing_or_damaged_is_an_error() {
    let mut keys = Keys::default();
    for key in 0..3 * CHUNK as u64 {
        keys.append(mark(key, 0, 0), Lsn::new(key));
    }
    keys.settle(Lsn::new(u64::MAX));
    let entries: Vec<_> = keys.settled().entries().collect();
    assert_eq!(entries.len(), 3);
    let read = |chosen: &[usize], cut: usize| {
        let mut back = SettledKeys::default();
        for at in chosen {
            let (number, value) = &entries[*at];
            let Packed(mut bytes) = message_pack::decode(value).unwrap();
            bytes.truncate(bytes.len() - cut);
            let value = message_pack::encode(&Packed(bytes)).unwrap();
            back.add(message_pack::decode(number).unwrap(), &value)?;
        }
        back.complete()
    };
    assert_eq!(read(&[1, 0, 2], 0), Ok(()));
    assert_eq!(read(&[1, 2], 0), Ok(()), "the oldest were forgotten");
    read(&[0, 2], 0).unwrap_err();
    read(&[0], 1).unwrap_err();
    read(&[0, 1], ENCODED).unwrap_err();
    read(&[0], CHUNK * ENCODED).unwrap_err();
}

/// A step of a random program.
#[derive(Debug, Clone)]
enum Step {
    /// Frames with these keys.
    Append(Vec<u64>),
    /// So many of the frames are of completed batches.
    Settle(usize),
    /// A crash: a checkpoint, and the frames behind it.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(0..4000_u64, 0..1500).prop_map(Step::Append),
        2 => (0..2000_usize).prop_map(Step::Settle),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Beside a map that forgets nothing: whatever is settled when, and wherever it is cut off,
    /// each key is at its newest frame.
    #[test]
    fn checkpoints_and_restarts_lose_no_key(steps in proptest::collection::vec(step(), 1..12)) {
        let mut ledger = Ledger::default();
        let mut frames: Vec<(u64, u64)> = Vec::new();
        let mut completed = 0;
        for step in steps {
            match step {
                Step::Append(keys) => for key in keys {
                    let lsn = 8 * frames.len() as u64;
                    ledger.keys_mut().append(mark(key, lsn, 0), Lsn::new(lsn));
                    frames.push((key, lsn));
                },
                Step::Settle(count) => {
                    completed = frames.len().min(completed + count);
                    ledger.settle(Lsn::new(8 * completed as u64));
                }
                Step::Restart => {
                    let settled = checkpointed(&ledger.settled());
                    prop_assert_eq!(settled.keys.len(), completed);
                    let mut behind = Frames::default();
                    for (key, lsn) in &frames[completed..] {
                        behind.push_key(Lsn::new(*lsn), mark(*key, *lsn, 0));
                    }
                    ledger = Ledger::new(settled, behind);
                }
            }
            let newest: BTreeMap<u64, u64> = frames.iter().copied().collect();
            for key in 0..4000 {
                let expected = newest.get(&key).map(|lsn| (u128::from(*lsn), *lsn));
                prop_assert_eq!(found(ledger.keys(), key, 0), expected);
            }
        }
    }
}
