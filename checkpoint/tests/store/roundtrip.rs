//! What goes in comes out: content, numbering, retention, refusals of the caller's mistakes.

use crate::common;
use crate::common::{LOG, MemStore, PART, WRITER, check, filled, lsn, meta, options, publish};
use crate::saved_seeds;
use highwater_checkpoint::{
    CheckpointError, Checkpoints, LocalStore, Meta, Options, Store, Validity,
};
use highwater_disk::OsDisk;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn everything_comes_back_after_a_restart_on_a_real_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(
        Arc::new(OsDisk::new()),
        dir.path().join("a/b"),
    ));
    let mut checkpoints = Checkpoints::open(store.clone(), options(WRITER)).unwrap();
    assert!(checkpoints.newest().unwrap().is_none());
    for n in 1..=5 {
        let published = publish(&mut checkpoints, n).unwrap();
        assert_eq!((published.number, published.lsn), (n, lsn(n)));
        assert!(published.files > 2);
        checkpoints.retire().unwrap();
    }
    drop(checkpoints);

    let mut reopened = Checkpoints::open(store.clone(), options(2)).unwrap();
    assert_eq!(reopened.generation(), 2);
    let newest = reopened.newest().unwrap().unwrap();
    assert_eq!(newest.number(), 5);
    check(&newest, 5);
    let inspected = Checkpoints::inspect(&store).unwrap();
    assert_eq!(
        inspected.iter().map(|i| i.number).collect::<Vec<_>>(),
        [5, 4]
    );
    assert!(inspected.iter().all(|i| i.validity == Validity::Valid));
    let bytes: u64 = store.list().unwrap().iter().map(|f| f.size).sum();
    publish(&mut reopened, 6).unwrap();
    let more: u64 = store.list().unwrap().iter().map(|f| f.size).sum();
    assert!(more > bytes);
}

#[test]
fn published_counts_all_files_and_bytes() {
    let store = Arc::new(MemStore::default());
    let mut checkpoints = Checkpoints::open(store.clone(), options(WRITER)).unwrap();
    let published = publish(&mut checkpoints, 1).unwrap();
    let listed = store.list().unwrap();
    assert_eq!(published.files, listed.len());
    assert_eq!(published.bytes, listed.iter().map(|f| f.size).sum::<u64>());
    for file in listed.iter().filter(|f| f.name.starts_with("state")) {
        let blocks = file.size - 64;
        assert!(
            file.size <= PART || blocks <= 255 * 3 + 40,
            "a part holds one large block at most"
        );
    }
}

#[test]
fn a_checkpoint_without_state_is_only_a_manifest() {
    let store = Arc::new(MemStore::default());
    let mut checkpoints = Checkpoints::open(store, options(WRITER)).unwrap();
    let published = checkpoints
        .begin(Meta {
            states: vec![],
            ..meta(1)
        })
        .unwrap()
        .publish()
        .unwrap();
    assert_eq!(published.files, 1);
    assert!(checkpoints.newest().unwrap().unwrap().states().is_empty());
}

/// P6, F54: before two checkpoints exist, the log's beginning is the fallback; then the older one's
/// LSN is the limit.
#[test]
fn the_log_is_needed_back_to_the_oldest_retained_checkpoint() {
    let store = Arc::new(MemStore::default());
    let mut checkpoints = Checkpoints::open(store.clone(), options(WRITER)).unwrap();
    assert_eq!(checkpoints.oldest_needed_lsn(), None);
    publish(&mut checkpoints, 1).unwrap();
    assert_eq!(checkpoints.retire().unwrap().oldest_needed_lsn, None);
    publish(&mut checkpoints, 2).unwrap();
    assert_eq!(
        checkpoints.retire().unwrap().oldest_needed_lsn,
        Some(lsn(1))
    );
    publish(&mut checkpoints, 3).unwrap();
    assert_eq!(
        checkpoints.oldest_needed_lsn(),
        Some(lsn(1)),
        "still there, still needed"
    );
    let retired = checkpoints.retire().unwrap();
    assert_eq!(
        (retired.removed, retired.oldest_needed_lsn),
        (vec![1], Some(lsn(2)))
    );
    let reopened = Checkpoints::open(store.clone(), options(2)).unwrap();
    assert_eq!(reopened.oldest_needed_lsn(), Some(lsn(2)));
    assert!(store.names("0000000001").is_empty());
}

#[test]
fn retain_is_a_number_of_valid_checkpoints_and_never_below_two() {
    for (retain, kept) in [(0, 2), (1, 2), (2, 2), (4, 4)] {
        let store = Arc::new(MemStore::default());
        let options = Options {
            retain,
            ..options(WRITER)
        };
        let mut checkpoints = Checkpoints::open(store.clone(), options).unwrap();
        for n in 1..=6 {
            publish(&mut checkpoints, n).unwrap();
            checkpoints.retire().unwrap();
        }
        assert_eq!(store.names("manifest").len(), kept);
        assert_eq!(checkpoints.manifests().count(), kept);
    }
}

#[test]
fn the_callers_mistakes_are_refused_before_anything_is_written() {
    let store = filled(2);
    let before = store.files.lock().unwrap().clone();
    let mut checkpoints = Checkpoints::open(store.clone(), options(2)).unwrap();
    let twice = Meta {
        states: vec![common::state("a"), common::state("a")],
        ..meta(3)
    };
    let mut deep = serde_json::Value::Null;
    for _ in 0..200 {
        deep = serde_json::json!([deep]);
    }
    for (wrong, said) in [
        (twice, "occurs twice"),
        (
            Meta {
                states: vec![common::state("")],
                ..meta(3)
            },
            "has no name",
        ),
        (
            Meta {
                metadata: deep,
                ..meta(3)
            },
            "recursion limit",
        ),
        (
            Meta {
                lsn: lsn(2) - 1,
                ..meta(3)
            },
            "lies before 2000, of checkpoint 2",
        ),
    ] {
        let error = checkpoints.begin(wrong).unwrap_err();
        assert!(
            matches!(error, CheckpointError::Misuse { number: 3, .. }),
            "{error}"
        );
        assert!(error.to_string().contains(said), "{error}");
    }
    let other = checkpoints
        .begin(Meta {
            log_id: LOG + 1,
            ..meta(3)
        })
        .unwrap_err();
    assert!(
        matches!(other, CheckpointError::OtherLog { number: 2, .. }),
        "{other}"
    );

    let mut writer = checkpoints.begin(meta(3)).unwrap();
    writer.add_block("counts", 1, 1, b"x").unwrap();
    let error = writer
        .add_block("counts", 1, 1, b"x")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "cannot write checkpoint 3: state \"counts\" has key group 1 already"
    );
    let error = writer
        .add_block("count", 1, 1, b"x")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "cannot write checkpoint 3: state \"count\" was not announced"
    );
    drop(writer);
    assert_eq!(*store.files.lock().unwrap(), before);
}

/// F42, F56: leftovers of crashed attempts go, other people's files stay.
#[test]
fn only_leftovers_of_ours_are_removed() {
    let store = filled(3);
    let live = store.files.lock().unwrap().clone();
    let older = "state-0000000001-00000000000000aa-00000.hws";
    let lost_race = "state-0000000003-00000000000000aa-00000.hws";
    let younger = "state-0000000004-00000000000000aa-00000.hws";
    let tmp = "manifest-0000000004.json.0.tmp";
    let foreign = [
        "core",
        "notes.tmp",
        "lost+found",
        "manifest-3.json",
        "state-3.hws",
    ];
    for name in [older, lost_race, younger, tmp].iter().chain(&foreign) {
        store.insert(name, b"left over");
    }
    let shared = Options {
        ownership: highwater_checkpoint::Ownership::Shared,
        ..options(2)
    };
    drop(Checkpoints::open(store.clone(), shared).unwrap());
    assert_eq!(
        store.names("00000000000000aa"),
        [younger],
        "its writer may be at it"
    );
    let mut checkpoints = Checkpoints::open(store.clone(), options(2)).unwrap();
    let mut expected = live;
    expected.extend(foreign.map(|n| (n.to_owned(), b"left over".to_vec())));
    assert_eq!(*store.files.lock().unwrap(), expected);
    publish(&mut checkpoints, 4).unwrap();
}

/// F58: a listing may be stale. The manifest that it lacks is found by asking for it, and no files
/// of a checkpoint are removed.
#[test]
fn a_stale_listing_hides_no_checkpoint() {
    let store = filled(3);
    *store.unlisted.lock().unwrap() = store.names("manifest-0000000003");
    let mut checkpoints = Checkpoints::open(store, options(2)).unwrap();
    check(&checkpoints.newest().unwrap().unwrap(), 3);
    assert_eq!(publish(&mut checkpoints, 4).unwrap().number, 4);
}

/// An older retained checkpoint that a stale listing lacks was not known. Another process took its
/// files for leftovers, and a damaged newest one would have been the end.
#[test]
fn a_stale_listing_hides_no_older_checkpoint() {
    // The listing lacks one manifest; all but the newest manifest; every manifest; all but a
    // manifest that was retired since.
    for (hidden, listed) in [
        ("manifest-0000000006", "nothing"),
        ("manifest-0000000005", "nothing"),
        ("", "manifest-0000000007"),
        ("manifest", "nothing"),
        ("", "manifest-0000000004"),
    ] {
        let store = filled(4);
        let options = |writer| Options {
            retain: 3,
            ..options(writer)
        };
        let mut checkpoints = Checkpoints::open(store.clone(), options(WRITER)).unwrap();
        for n in 5..=7 {
            publish(&mut checkpoints, n).unwrap();
            checkpoints.retire().unwrap();
        }
        let before = store.names("");
        let mut unlisted = store.names(hidden);
        unlisted.retain(|name| !name.contains(listed));
        *store.unlisted.lock().unwrap() = unlisted;
        if listed == "manifest-0000000004" {
            *store.retired.lock().unwrap() = Some(format!("{listed}.json"));
        }
        let mut checkpoints = Checkpoints::open(store.clone(), options(2)).unwrap();
        let known: Vec<u64> = checkpoints.manifests().map(|m| m.number).collect();
        assert_eq!(known, [5, 6, 7], "{hidden} {listed}");
        check(&checkpoints.newest().unwrap().unwrap(), 7);
        // Nothing counts as lost, and the log may be truncated as ever.
        assert_eq!(publish(&mut checkpoints, 8).unwrap().number, 8);
        let retired = checkpoints.retire().unwrap();
        let (removed, needed) = (retired.removed, retired.oldest_needed_lsn);
        assert_eq!(
            (removed, needed),
            (vec![5], Some(lsn(6))),
            "{hidden} {listed}"
        );
        let kept = before.iter().filter(|name| !name.contains("0000000005"));
        assert!(kept.into_iter().all(|name| store.names("").contains(name)));
        store.remove(&store.names("state-0000000008")[0]);
        check(&checkpoints.newest().unwrap().unwrap(), 7);
    }
}

/// The manifest is a text that people can read and any JSON tool can parse.
#[test]
fn the_manifest_is_readable_json() {
    let store = filled(1);
    let bytes = store.bytes("manifest-0000000001.json");
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["manifest"]["application"], "word-count");
    assert_eq!(json["manifest"]["log_id"], format!("{LOG:032x}"));
    assert_eq!(json["manifest"]["states"][0]["entries"], 6);
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.lines().all(|l| l.len() < 160) && text.lines().count() > 40,
        "{text}"
    );
}

type Content = BTreeMap<(u8, u32), Vec<u8>>;

proptest! {
    #![proptest_config(saved_seeds::config(64, env!("CARGO_MANIFEST_DIR"), "roundtrip"))]

    /// Any blocks, in any order, with any part size.
    #[test]
    fn any_content_comes_back(
        blocks in prop::collection::btree_map((0u8..4, any::<u32>()), prop::collection::vec(any::<u8>(), 0..300), 0..40),
        state_file_bytes in 0u64..2000,
    ) {
        let blocks: Content = blocks;
        let names = ["a", "ein Zustand", "\"quoted\\", "\u{0}\n"];
        let store = Arc::new(MemStore::default());
        let options = Options { state_file_bytes, ..options(WRITER) };
        let mut checkpoints = Checkpoints::open(store, options).unwrap();
        let states = names.map(common::state).to_vec();
        let mut writer = checkpoints.begin(Meta { states, ..meta(1) }).unwrap();
        for ((state, group), bytes) in blocks.iter().rev() {
            writer.add_block(names[usize::from(*state)], *group, 1, bytes).unwrap();
        }
        writer.publish().unwrap();
        let found = checkpoints.newest().unwrap().unwrap();
        let listed: u64 = found.states().iter().map(|s| s.entries).sum();
        prop_assert_eq!(listed, blocks.len() as u64);
        for ((state, group), bytes) in blocks {
            let read = common::read(&found, names[usize::from(state)], group);
            prop_assert_eq!(read, Some(bytes));
        }
    }

    /// Numbers in the metadata come back exactly, or the checkpoint would be refused.
    #[test]
    fn any_number_in_the_metadata_comes_back(float in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL, int: u64) {
        let metadata = serde_json::json!({ "float": float, "int": int, "negative": i64::MIN });
        let store = Arc::new(MemStore::default());
        let mut checkpoints = Checkpoints::open(store, options(WRITER)).unwrap();
        let writer = checkpoints.begin(Meta { metadata: metadata.clone(), ..meta(1) }).unwrap();
        writer.publish().unwrap();
        let found = checkpoints.newest().unwrap().unwrap();
        prop_assert_eq!(&found.manifest().metadata, &metadata);
    }
}

/// The engine moves the writer to a thread of its own and reads key groups from several.
#[test]
fn the_types_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Checkpoints>();
    crosses::<highwater_checkpoint::Checkpoint>();
    crosses::<CheckpointError>();
}
