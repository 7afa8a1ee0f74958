//! The files of every format version, as they were and will be (F81, P11).
//!
//! `HIGHWATER_WRITE_GOLDEN=1 cargo test -p highwater-checkpoint --test store golden` writes those
//! of the newest version; only a new format version is a reason to, into a directory of its own.

use crate::common;
use crate::common::{LOG, MemStore, WRITER, check, options};
use highwater_checkpoint::{
    BlockKind, CheckpointError, Checkpoints, GroupBlock, LocalStore, Manifest, Meta, Store, entries,
};
use highwater_disk::OsDisk;
use std::path::Path;
use std::sync::Arc;

fn golden(version: &str) -> LocalStore {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    LocalStore::new(Arc::new(OsDisk::new()), dir.join(version))
}

fn copy(from: &dyn Store, to: &dyn Store) {
    to.prepare().unwrap();
    for file in from.list().unwrap() {
        to.put_new(&file.name, &from.get(&file.name, file.size).unwrap())
            .unwrap();
    }
}

fn copied(version: &str) -> (tempfile::TempDir, Arc<LocalStore>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(Arc::new(OsDisk::new()), dir.path()));
    copy(&golden(version), &*store);
    (dir, store)
}

/// A checkpoint of version 1 is read, and no other one builds upon its files.
#[test]
fn version_1_is_read() {
    let (_dir, store) = copied("v1");
    let mut checkpoints = Checkpoints::open(store, options(5)).unwrap();
    let newest = checkpoints.newest().unwrap().unwrap();
    check(&newest, 2);
    assert_eq!(newest.manifest().writer, WRITER);
    assert_eq!((newest.number(), newest.manifest().previous), (2, Some(1)));
    assert_eq!(newest.groups("counts").unwrap().len(), 3);
    assert_eq!(checkpoints.oldest_needed_lsn(), Some(1000));
    let parent = Some(2);
    let refused = checkpoints.begin(Meta {
        parent,
        ..common::meta(3)
    });
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, CheckpointError::CannotContinue { parent: 2, .. }),
        "{refused}"
    );
    common::publish(&mut checkpoints, 3).unwrap();
    check(&checkpoints.newest().unwrap().unwrap(), 3);
}

/// F87, F82: what version 1 says of blocks is checked as it was; what it reserved is news.
#[test]
fn a_forged_manifest_of_version_1_is_damage_or_news() {
    let name = "manifest-0000000002.json";
    let bytes = golden("v1").get(name, 1 << 20).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    type Forgery = fn(&mut serde_json::Value);
    let forgeries: [(Forgery, &str); 10] = [
        (
            |m| m["states"][0]["blocks"][0]["offset"] = u64::MAX.into(),
            "outside of its file",
        ),
        (
            |m| m["states"][0]["blocks"][0]["offset"] = 0.into(),
            "outside of its file",
        ),
        (
            |m| m["states"][0]["blocks"][0]["len"] = u64::MAX.into(),
            "outside of its file",
        ),
        (
            |m| m["states"][0]["blocks"][0]["len"] = (-1).into(),
            "makes no sense",
        ),
        (
            |m| m["states"][0]["blocks"][0]["file"] = u32::MAX.into(),
            "no such file",
        ),
        (
            |m| m["states"][0]["blocks"][0]["key_group"] = 2.into(),
            "twice or out of order",
        ),
        (
            |m| m["states"][0]["entries"] = 999.into(),
            "999 entries are announced",
        ),
        (
            |m| m["files"][0]["name"] = "state-0000000001-aaff84b10e5bd085-00000.hws".into(),
            "is listed where",
        ),
        (
            |m| m["chain"] = serde_json::json!([1, 2]),
            "it is incremental, on top of [1, 2]",
        ),
        (
            |m| m["states"][0]["blocks"][0]["kind"] = "delta".into(),
            "it is incremental",
        ),
    ];
    for (forgery, expected) in forgeries {
        let mut inner = json["manifest"].clone();
        forgery(&mut inner);
        let inner = serde_json::to_string(&inner).unwrap();
        let checksum = blake3::hash(inner.as_bytes()).to_hex();
        let text = format!("{{\"checksum\":\"blake3:{checksum}\",\"manifest\":{inner}}}\n");
        let error = Manifest::decode(2, text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        let is_news = matches!(error, CheckpointError::NewerFormat { .. });
        assert_eq!(is_news, expected.contains("incremental"), "{error}");
    }
}

/// Entries and removed keys of a block.
fn block(kind: BlockKind, removed: &[&str], changed: &[(&str, &str)]) -> GroupBlock {
    let mut bytes = Vec::new();
    let mut put = |item: &str| {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(item.as_bytes());
            Ok::<(), String>(())
        };
        entries::append(&mut bytes, write).unwrap();
    };
    removed.iter().for_each(|key| put(key));
    changed.iter().for_each(|(key, value)| {
        put(key);
        put(value);
    });
    GroupBlock {
        kind,
        removed: removed.len() as u64,
        entries: changed.len() as u64,
        bytes,
    }
}

/// Three checkpoints, each on top of the one before, with the writer's id and all times given: the
/// same bytes every time.
fn fresh() -> Arc<MemStore> {
    use BlockKind::{Base, Delta};
    let store = Arc::new(MemStore::default());
    let mut checkpoints = Checkpoints::open(store.clone(), options(WRITER)).unwrap();
    let long = "value ".repeat(30);
    for n in 1..=3 {
        let parent = (n > 1).then(|| n - 1);
        let meta = Meta {
            parent,
            ..common::meta(n)
        };
        assert_eq!(meta.log_id, LOG);
        let mut writer = checkpoints.begin(meta).unwrap();
        let blocks = match n {
            1 => vec![
                (0, block(Base, &[], &[("a", "1"), ("b", &long), ("c", "3")])),
                (3, block(Base, &[], &[("d", "4")])),
            ],
            2 => vec![(0, block(Delta, &["b"], &[("c", "30"), ("e", "5")]))],
            _ => vec![
                (1, block(Delta, &[], &[("f", "6")])),
                (3, block(Delta, &["d"], &[])),
            ],
        };
        for (group, block) in blocks {
            writer.add("counts", group, block).unwrap();
        }
        writer.set_keys("counts", 4).unwrap();
        writer.set_keys("empty", 0).unwrap();
        writer.set_keys("sessions", 0).unwrap();
        writer.publish().unwrap();
        checkpoints.retire().unwrap();
    }
    store
}

#[test]
fn version_2_is_read() {
    if std::env::var_os("HIGHWATER_WRITE_GOLDEN").is_some() {
        copy(&*fresh(), &golden("v2"));
    }
    let (_dir, store) = copied("v2");
    let mut checkpoints = Checkpoints::open(store, options(5)).unwrap();
    let newest = checkpoints.newest().unwrap().unwrap();
    assert_eq!((newest.number(), newest.manifest().previous), (3, Some(2)));
    let whole = |group| {
        let read = newest.read_group("counts", group).unwrap()?;
        let entries = entries::entries(&read.bytes).map(Result::unwrap);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let entries = entries.map(|(key, value)| format!("{}={}", text(key), text(value)));
        Some(entries.collect::<Vec<_>>())
    };
    assert_eq!(whole(0).unwrap(), ["a=1", "c=30", "e=5"]);
    assert_eq!(whole(1).unwrap(), ["f=6"]);
    assert_eq!(whole(2), None);
    assert_eq!(whole(3).unwrap(), [""; 0]);
    common::publish(&mut checkpoints, 4).unwrap();
}

/// A change of the bytes that are written is a change of the format, and shows here.
#[test]
fn version_2_is_written() {
    let (fresh, golden) = (fresh(), golden("v2"));
    let listed = golden.list().unwrap();
    assert_eq!(listed, fresh.list().unwrap());
    assert!(listed.len() > 4);
    for file in listed {
        let bytes = golden.get(&file.name, file.size).unwrap();
        assert!(
            bytes == fresh.bytes(&file.name),
            "{} is written differently",
            file.name
        );
    }
}
