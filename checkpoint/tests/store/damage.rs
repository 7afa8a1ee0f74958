//! Damaged, missing, swapped, foreign and malicious files (F33 to F41, F55, F56, F62, F82, F87).

use crate::common;
use crate::common::{LOG, MemStore, check, filled, log, lsn, options, publish};
use highwater_checkpoint::{CheckpointError, Checkpoints, LogBounds, Manifest, Store, Validity};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const NEWEST: &str = "manifest-0000000003.json";

fn open(store: &Arc<MemStore>) -> Checkpoints {
    Checkpoints::open(store.clone(), options(77)).unwrap()
}

/// The newest checkpoint (3) was damaged: 2 is found instead, whole, and 3 is reported with
/// `expected`; however it is read.
fn falls_back(store: &Arc<MemStore>, expected: &str) {
    let far = store.copy();
    far.is_far.store(true, Ordering::Relaxed);
    found_instead(&far, expected);
    found_instead(store, expected);
}

fn found_instead(store: &Arc<MemStore>, expected: &str) {
    let mut checkpoints = open(store);
    let found = checkpoints.newest().unwrap().unwrap();
    assert_eq!(found.number(), 2, "{expected}");
    check(&found, 2);
    let [skipped] = found.skipped() else {
        panic!("{:?}", found.skipped())
    };
    assert_eq!(skipped.number, 3);
    assert!(
        skipped.reason.contains(expected),
        "{} <- {expected}",
        skipped.reason
    );
    // `inspect` reports the same, and a single valid one does not permit to truncate the log.
    let store: Arc<dyn Store> = store.clone();
    let inspected = Checkpoints::inspect(&store).unwrap();
    assert_eq!(
        inspected[0].validity,
        Validity::Damaged(skipped.reason.clone())
    );
    assert_eq!(inspected[1].validity, Validity::Valid);
    assert_eq!(checkpoints.oldest_needed_lsn(), None);
    // The next one is 4, and the damaged one stays until two newer valid ones exist.
    assert_eq!(publish(&mut checkpoints, 4).unwrap().number, 4);
    let retired = checkpoints.retire().unwrap();
    assert_eq!(
        (retired.removed, retired.oldest_needed_lsn),
        (vec![], Some(lsn(2)))
    );
    publish(&mut checkpoints, 5).unwrap();
    assert_eq!(checkpoints.retire().unwrap().removed, [2, 3]);
    check(&checkpoints.newest().unwrap().unwrap(), 5);
}

/// F55, F33, F34, F35: each kind of damage to the manifest.
#[test]
fn a_damaged_manifest_falls_back() {
    let base = filled(3);
    type Damage = fn(&mut Vec<u8>);
    let kinds: [(Damage, &str); 9] = [
        (|b| b.clear(), "does not begin as a manifest"),
        (|b| b.truncate(50), "ends too soon"),
        (|b| b.truncate(b.len() - 1), "end is missing"),
        (|b| b.truncate(b.len() / 2), "end is missing"),
        (|b| b.fill(0), "does not begin as a manifest"),
        (|b| b.extend([0; 512]), "end is missing"),
        (
            |b| b[30] = if b[30] == b'0' { b'1' } else { b'0' },
            "checksum does not match",
        ),
        (|b| b[300] ^= 0x20, "checksum does not match"),
        (|b| b[600..1100].fill(b' '), "checksum does not match"),
    ];
    for (damage, expected) in kinds {
        let store = base.copy();
        store.edit(NEWEST, damage);
        falls_back(&store, expected);
    }
}

/// F55, F56, F33 to F36: each kind of damage to each state file, in header, block header, payload
/// and padding.
#[test]
fn a_damaged_state_file_falls_back() {
    let base = filled(3);
    for name in base.names("state-0000000003") {
        let len = base.bytes(&name).len();
        for at in [0, 9, 20, 40, 59, 60, 64, 70, 80, 90, 96, len - 1] {
            let store = base.copy();
            store.edit(&name, |b| b[at] ^= 1);
            falls_back(&store, "its content has changed (the hash does not match)");
        }
        let store = base.copy();
        store.edit(&name, |b| b.truncate(len - 8));
        falls_back(
            &store,
            &format!("it has {} bytes, {len} were written", len - 8),
        );
        let store = base.copy();
        store.edit(&name, |b| b.clear());
        falls_back(&store, &format!("it has 0 bytes, {len} were written"));
        let store = base.copy();
        store.edit(&name, |b| b.push(0));
        falls_back(
            &store,
            &format!("it has {} bytes, {len} were written", len + 1),
        );
        let store = base.copy();
        store.edit(&name, |b| b.fill(0));
        falls_back(&store, "the hash does not match");
        let store = base.copy();
        store.remove(&name);
        falls_back(&store, &format!("{name}: the file is missing"));
    }
}

/// F38: two state files swapped, one copied over another, an older one under the new name.
#[test]
fn a_state_file_in_the_place_of_another_falls_back() {
    let base = filled(3);
    let parts = base.names("state-0000000003");
    let old = base.names("state-0000000002");
    for (from, to) in [
        (&parts[0], &parts[1]),
        (&parts[1], &parts[0]),
        (&old[0], &parts[0]),
    ] {
        let store = base.copy();
        let bytes = base.bytes(from);
        store.insert(to, &bytes);
        falls_back(&store, to);
    }
    let store = base.copy();
    let (a, b) = (base.bytes(&parts[0]), base.bytes(&parts[1]));
    store.insert(&parts[0], &b);
    store.insert(&parts[1], &a);
    falls_back(&store, &parts[0]);
    // The older checkpoint's manifest under the newer's name.
    let store = base.copy();
    store.insert(NEWEST, &base.bytes("manifest-0000000002.json"));
    falls_back(&store, "it is the manifest of checkpoint 2");
}

/// F33: no flipped bit of a manifest goes unnoticed, whichever it is.
#[test]
fn every_flipped_bit_of_a_manifest_is_detected() {
    let good = filled(1).bytes("manifest-0000000001.json");
    Manifest::decode(1, &good).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = Manifest::decode(1, &bytes).unwrap_err();
        assert!(
            matches!(error, CheckpointError::Damaged { .. }),
            "bit {bit}: {error}"
        );
    }
    for len in 0..good.len() {
        Manifest::decode(1, &good[..len]).unwrap_err();
    }
}

/// F39: damage that comes after the checkpoint was opened is found by the block's own checksum.
#[test]
fn a_block_that_rots_while_open_is_an_error_with_its_place() {
    let store = filled(1);
    let found = open(&store).newest().unwrap().unwrap();
    check(&found, 1); // the indices were read
    let errors = || {
        let read = common::BLOCKS.map(|(state, group)| found.read_group(state, group).err());
        let errors = read.into_iter().flatten();
        errors.map(|error| error.to_string()).collect::<Vec<_>>()
    };
    let (mut rotten, mut whole) = (0, 0);
    for file in &found.manifest().files {
        let good = store.bytes(&file.name);
        for byte in 64..good.len() {
            store.edit(&file.name, |b| b[byte] ^= 4);
            match &errors()[..] {
                [] => whole += 1, // the index, which is in memory
                [error] => {
                    let place = format!("{} at byte ", file.name);
                    assert!(error.starts_with(&place), "{error}");
                    assert!(error.contains("block of state "), "{error}");
                    rotten += 1;
                }
                more => panic!("one byte, several blocks: {more:?}"),
            }
            store.insert(&file.name, &good);
        }
        store.edit(&file.name, |b| b.truncate(64));
        let errors = errors();
        let short = |error: &String| error.contains("the file ends too soon");
        assert!(!errors.is_empty() && errors.iter().all(short), "{errors:?}");
        store.insert(&file.name, &good);
    }
    let stored = |(state, _): &(&str, u32)| {
        let groups = found.groups(state).unwrap();
        groups.iter().map(|group| group.bytes).sum::<u64>()
    };
    let stored = stored(&("counts", 0)) + stored(&("sessions", 0));
    assert_eq!(rotten, stored, "each byte of each block counts ({whole})");
    check(&found, 1);
}

/// F55: nothing is usable: an error that names each checkpoint, its damage, and what to do; never
/// an empty start.
#[test]
fn nothing_valid_is_an_error_not_a_fresh_start() {
    let store = filled(3);
    store.edit(NEWEST, |b| b[200] ^= 1);
    let part = &store.names("state-0000000002")[1];
    store.edit(part, |b| b[100] ^= 1);
    let error = open(&store).newest().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "memory: none of the 2 checkpoints is usable: checkpoint 3: {NEWEST}: its checksum does not match; \
             checkpoint 2: {part}: its content has changed (the hash does not match); restore the files from a copy; \
             if the log still begins at its first record, you can move the manifests away instead, and the state is \
             rebuilt from the log"
        )
    );
    // Damaged files are kept, so that they can be repaired.
    let before = store.files.lock().unwrap().clone();
    let mut checkpoints = open(&store);
    checkpoints.retire().unwrap();
    assert_eq!(*store.files.lock().unwrap(), before);
}

/// F62, F86: another log's checkpoint, one before the log's start, one past its end.
#[test]
fn a_checkpoint_that_does_not_go_with_the_log_is_refused() {
    let store = filled(3);
    let mut checkpoints = open(&store);
    assert_eq!(
        checkpoints
            .newest_for(&log(lsn(3), lsn(3)))
            .unwrap()
            .unwrap()
            .number(),
        3
    );
    let mut refused = |bounds: LogBounds| checkpoints.newest_for(&bounds).unwrap_err();
    let other = refused(LogBounds {
        log_id: 1,
        ..log(0, lsn(9))
    });
    assert!(matches!(
        other,
        CheckpointError::OtherLog {
            checkpoint_log: LOG,
            log: 1,
            ..
        }
    ));
    assert!(other.to_string().starts_with(
        "checkpoint 3 belongs to log 0123456789abcdef0011223344556677, \
         this log is 00000000000000000000000000000001:"
    ));
    let before = refused(log(lsn(3) + 1, lsn(9)));
    assert!(before.to_string().starts_with(
        "checkpoint 3 continues at LSN 3000, but the log begins only at LSN 3001: the records between are gone;"
    ));
    let after = refused(log(0, lsn(3) - 1));
    assert!(
        after
            .to_string()
            .starts_with("checkpoint 3 continues at LSN 3000, but the log ends at LSN 2999:")
    );
}

/// F55: the older checkpoint is as good as the newest only while the log reaches back to it.
#[test]
fn the_fallback_needs_a_log_that_reaches_it() {
    let store = filled(3);
    store.edit(NEWEST, |b| b[200] ^= 1);
    let mut checkpoints = open(&store);
    assert_eq!(
        checkpoints
            .newest_for(&log(lsn(2), lsn(9)))
            .unwrap()
            .unwrap()
            .number(),
        2
    );
    let error = checkpoints
        .newest_for(&log(lsn(2) + 1, lsn(9)))
        .unwrap_err();
    assert!(
        matches!(&error, CheckpointError::BeforeLog { number: 2, skipped, .. } if skipped.len() == 1)
    );
    assert!(error.to_string().contains(&format!(
        "the records between are gone (not usable: checkpoint 3: {NEWEST}: its checksum does not match);"
    )));
}

/// A manifest like `store`'s newest, changed in its meaning, with a right checksum.
fn forge(store: &MemStore, change: impl FnOnce(&mut serde_json::Value)) {
    let bytes = store.bytes(NEWEST);
    let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let inner = &mut json["manifest"];
    change(inner);
    let inner = serde_json::to_string(inner).unwrap();
    let checksum = blake3::hash(inner.as_bytes()).to_hex();
    let text = format!("{{\"checksum\":\"blake3:{checksum}\",\"manifest\":{inner}}}\n");
    store.insert(NEWEST, text.as_bytes());
}

/// F87: manifests with a right checksum and a wrong meaning: no file outside, no allocation, no
/// overflow, no panic.
#[test]
fn a_forged_manifest_is_damage() {
    type Forgery = fn(&mut serde_json::Value);
    let forgeries: [(Forgery, &str); 19] = [
        (
            |m| m["files"][0]["name"] = "../../etc/passwd".into(),
            "\"../../etc/passwd\" is listed where",
        ),
        (
            |m| m["files"][0]["name"] = "/etc/passwd".into(),
            "is listed where",
        ),
        (
            |m| m["files"][0]["name"] = "manifest-0000000002.json".into(),
            "is listed where",
        ),
        (
            |m| m["files"][0]["name"] = m["files"][1]["name"].clone(),
            "is listed where",
        ),
        (|m| m["files"][0]["size"] = u64::MAX.into(), "were written"),
        (
            |m| m["files"][0]["size"] = 0.into(),
            "is listed with 0 bytes",
        ),
        (|m| m["files"][0]["blake3"] = "00".into(), "has no hash"),
        (
            |m| m["files"][1]["name"] = "state-0000000004-3e711aebb5809b09-00001.hws".into(),
            "is listed where",
        ),
        (
            |m| m["files"][1]["name"] = "state-0000000003-00000000000000aa-00001.hws".into(),
            "is listed where",
        ),
        (|m| m["chain"] = serde_json::json!([2, 3]), "chain [2, 3]"),
        (|m| m["states"][1]["id"] = 0.into(), "used twice"),
        (|m| m["states"][1]["id"] = 3.into(), "too high"),
        (|m| m["next_state_id"] = 2.into(), "too high"),
        (
            |m| {
                m["states"][0]["blocks"] = serde_json::json!([{"key_group": 1, "kind": "base",
                "file": 0, "offset": 64, "len": 1, "entries": 1, "crc32c": "00000000"}])
            },
            "its blocks stand in the manifest",
        ),
        (|m| m["states"][1]["name"] = "counts".into(), "occurs twice"),
        (|m| m["number"] = 2.into(), "manifest of checkpoint 2"),
        (|m| m["previous"] = 3.into(), "previous Some(3)"),
        (|m| m["surprise"] = true.into(), "unknown field `surprise`"),
        (|m| m["format_version"] = 0.into(), "format version 0"),
    ];
    let base = filled(3);
    for (forgery, expected) in forgeries {
        let store = base.copy();
        forge(&store, forgery);
        falls_back(&store, expected);
    }
    // Nested too deeply, not an object, not UTF-8.
    for inner in [&b"["[..], b"[]", b"{}", b"\xff", &b"[".repeat(100_000)] {
        let checksum = blake3::hash(inner).to_hex();
        let mut bytes = format!("{{\"checksum\":\"blake3:{checksum}\",\"manifest\":").into_bytes();
        bytes.extend_from_slice(inner);
        bytes.extend_from_slice(b"}\n");
        assert!(matches!(
            Manifest::decode(1, &bytes),
            Err(CheckpointError::Damaged { .. })
        ));
    }
}

/// F82, P11: a newer version's checkpoint is neither damage nor a reason to take an older one;
/// nothing is changed.
#[test]
fn a_newer_format_is_refused_untouched() {
    type Forgery = fn(&mut serde_json::Value);
    let forgeries: [(Forgery, &str); 1] = [(
        |m| *m = serde_json::json!({"format_version": 3, "all": "else"}),
        "it has format 3",
    )];
    for (forgery, expected) in forgeries {
        let store = filled(3);
        forge(&store, forgery);
        store.insert("state-0000000001-00000000000000aa-00000.hws", b"left over");
        let before = store.files.lock().unwrap().clone();
        let error = Checkpoints::open(store.clone(), options(77)).unwrap_err();
        assert!(
            matches!(error, CheckpointError::NewerFormat { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(*store.files.lock().unwrap(), before);
        let dynamic: Arc<dyn Store> = store;
        let inspected = Checkpoints::inspect(&dynamic).unwrap();
        assert!(matches!(inspected[0].validity, Validity::NewerFormat(_)));
        assert_eq!(inspected[1].validity, Validity::Valid);
    }
}
