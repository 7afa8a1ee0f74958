//! Comparing, checking and copying checkpoints, without writing into their store.

use crate::common;
use crate::common::{LOG, MemStore, Trouble, WRITER, options};
use crate::saved_seeds;
use highwater_checkpoint::{
    AsBytes, Audit, BlockKind, Change, Checkpoint, CheckpointError, Checkpoints, Comparison,
    GroupBlock, LeftoverKind, LocalStore, Meaning, Meta, Pruning, StateDifference, StateEntry,
    Store, Validity, audit, copy_checkpoints, copy_without, entries,
};
use highwater_disk::SimDisk;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// By key group: keys in order, with values.
type Table = BTreeMap<u32, Vec<(Vec<u8>, Vec<u8>)>>;

fn block(kind: BlockKind, removed: &[&[u8]], pairs: &[(Vec<u8>, Vec<u8>)]) -> GroupBlock {
    let mut bytes = Vec::new();
    let items = pairs.iter().flat_map(|(key, value)| [&key[..], &value[..]]);
    for item in removed.iter().copied().chain(items) {
        entries::append(&mut bytes, |out| {
            out.extend_from_slice(item);
            Ok::<_, String>(())
        })
        .unwrap();
    }
    GroupBlock {
        kind,
        removed: removed.len() as u64,
        entries: pairs.len() as u64,
        bytes,
    }
}

fn table(pairs: &[(u32, &str, &str)]) -> Table {
    let mut table = Table::new();
    for (group, key, value) in pairs {
        let entry = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        table.entry(*group).or_default().push(entry);
    }
    table
}

fn meta(parent: Option<u64>, n: u64, states: &[&str]) -> Meta {
    let states = states.iter().map(|name| common::state(name)).collect();
    Meta {
        parent,
        states,
        ..common::meta(n)
    }
}

/// Writes all of the states as checkpoint `n`.
fn whole(checkpoints: &mut Checkpoints, n: u64, states: &[(&str, &Table)]) {
    let names: Vec<&str> = states.iter().map(|(name, _)| *name).collect();
    let mut writer = checkpoints.begin(meta(None, n, &names)).unwrap();
    for (name, table) in states {
        for (group, pairs) in *table {
            let block = block(BlockKind::Base, &[], pairs);
            writer.add(name, *group, block).unwrap();
        }
    }
    writer.publish().unwrap();
}

fn open(store: &Arc<MemStore>) -> Checkpoints {
    Checkpoints::open(Arc::clone(store) as Arc<dyn Store>, options(WRITER)).unwrap()
}

fn all(store: &Arc<MemStore>) -> Vec<Checkpoint> {
    open(store).all().collect()
}

/// One state of two checkpoints, and the keys that differ, as text.
fn compared(
    comparison: &Comparison<'_>,
    state: &str,
) -> (StateDifference, Vec<(Change, u32, String)>) {
    let mut keys = Vec::new();
    let found = comparison.state(state, |difference| {
        let key = String::from_utf8(difference.key.to_vec()).unwrap();
        keys.push((difference.change, difference.key_group, key));
        assert_eq!(
            difference.before.is_none(),
            difference.change == Change::Added
        );
        assert_eq!(
            difference.after.is_none(),
            difference.change == Change::Removed
        );
    });
    (found.unwrap(), keys)
}

#[test]
fn keys_that_differ_are_found() {
    let store = Arc::new(MemStore::default());
    let mut checkpoints = open(&store);
    let first = table(&[(0, "a", "1"), (0, "b", "1"), (2, "c", "1"), (2, "d", "1")]);
    let second = table(&[(0, "b", "2"), (0, "e", "1"), (2, "c", "1"), (3, "f", "1")]);
    let only = table(&[(1, "x", "1"), (1, "y", "1")]);
    whole(&mut checkpoints, 1, &[("counts", &first), ("old", &only)]);
    whole(&mut checkpoints, 2, &[("new", &only), ("counts", &second)]);
    let all = all(&store);
    let comparison = Comparison::new(&all[0], &all[1], &AsBytes).same_groups(true);
    assert_eq!(comparison.states(), ["counts", "old", "new"]);
    let (found, keys) = compared(&comparison, "counts");
    let counts = |s: &StateDifference| (s.added, s.removed, s.changed, s.same);
    assert_eq!(counts(&found), (2, 2, 1, 1));
    assert!(!found.is_equal());
    let expected = [
        (Change::Removed, 0, "a"),
        (Change::Changed, 0, "b"),
        (Change::Added, 0, "e"),
        (Change::Removed, 2, "d"),
        (Change::Added, 3, "f"),
    ];
    let expected = expected.map(|(change, group, key)| (change, group, key.to_owned()));
    assert_eq!(keys, expected);
    for (name, expected) in [
        ("old", (0, 2, 0, 0)),
        ("new", (2, 0, 0, 0)),
        ("no", (0, 0, 0, 0)),
    ] {
        let (found, keys) = compared(&comparison, name);
        assert_eq!((counts(&found), keys.len()), (expected, 0), "{name}");
        assert!(!found.is_equal(), "{name}");
    }
    let same = Comparison::new(&all[0], &all[0], &AsBytes).same_groups(true);
    assert!(compared(&same, "counts").0.is_equal());
}

/// A key in another group is the same key, unless it was said that there is none.
#[test]
fn key_groups_may_differ() {
    let store = Arc::new(MemStore::default());
    let mut checkpoints = open(&store);
    let first = table(&[(0, "a", "1"), (1, "b", "1")]);
    let second = table(&[(7, "a", "1"), (8, "b", "2")]);
    whole(&mut checkpoints, 1, &[("counts", &first)]);
    whole(&mut checkpoints, 2, &[("counts", &second)]);
    let all = all(&store);
    for memory in [1, 20, 1 << 20] {
        let comparison = Comparison::new(&all[0], &all[1], &AsBytes).memory(memory);
        let (found, keys) = compared(&comparison, "counts");
        assert_eq!((found.changed, found.same), (1, 1), "{memory}");
        assert_eq!(keys, [(Change::Changed, 8, "b".to_owned())], "{memory}");
    }
    let comparison = Comparison::new(&all[0], &all[1], &AsBytes).same_groups(true);
    let (found, _) = compared(&comparison, "counts");
    assert_eq!((found.added, found.removed), (2, 2));
}

/// Text whose case does not matter, and numbers that are no key.
struct AnyCase;

impl Meaning for AnyCase {
    fn canonical(&self, _: &StateEntry, bytes: &[u8]) -> Option<Vec<u8>> {
        let is_text = bytes.iter().all(u8::is_ascii_alphabetic);
        is_text.then(|| bytes.to_ascii_lowercase())
    }

    fn check(&self, _: &StateEntry, bytes: &[u8]) -> Result<(), String> {
        match self.canonical(&entry(), bytes) {
            Some(_) => Ok(()),
            None => Err("it is no text".to_owned()),
        }
    }
}

fn entry() -> StateEntry {
    serde_json::from_value(serde_json::json!({
        "name": "s", "kind": "k", "codec": "c", "fingerprint": "f", "entries": 0,
    }))
    .unwrap()
}

/// Bytes that differ and mean the same are equal; bytes that mean nothing are equal to themselves.
#[test]
fn meaning_counts_where_bytes_differ() {
    let store = Arc::new(MemStore::default());
    let mut checkpoints = open(&store);
    let first = table(&[
        (0, "Key", "Value"),
        (0, "B", "x"),
        (0, "1", "2"),
        (0, "3", "4"),
    ]);
    let second = table(&[
        (0, "b", "X"),
        (0, "kEY", "vALUE"),
        (0, "1", "5"),
        (0, "3", "4"),
    ]);
    whole(&mut checkpoints, 1, &[("counts", &first)]);
    whole(&mut checkpoints, 2, &[("counts", &second)]);
    let all = all(&store);
    for same in [true, false] {
        let comparison = Comparison::new(&all[0], &all[1], &AnyCase);
        let comparison = comparison.same_groups(same).memory(10);
        let (found, keys) = compared(&comparison, "counts");
        assert_eq!(
            (found.same, keys),
            (3, vec![(Change::Changed, 0, "1".to_owned())])
        );
    }
}

/// Keys with values; the group of a key follows from a modulus.
fn random_table() -> impl Strategy<Value = BTreeMap<u8, u8>> {
    proptest::collection::btree_map(0..40_u8, 0..3_u8, 0..30)
}

fn grouped(model: &BTreeMap<u8, u8>, groups: u32) -> Table {
    let mut table = Table::new();
    for (key, value) in model {
        let group = u32::from(*key) % groups;
        let pairs = table.entry(group).or_default();
        pairs.push((vec![*key], vec![*value; usize::from(*value)]));
    }
    table
}

proptest! {
    #![proptest_config(saved_seeds::config(256, env!("CARGO_MANIFEST_DIR"), "offline"))]

    /// Against the plainest comparison there is, also where one is on top of the other.
    #[test]
    fn a_comparison_is_that_of_two_maps(
        first in random_table(),
        second in random_table(),
        groups in (1..9_u32, 1..9_u32),
        memory in prop_oneof![Just(1_u64), Just(50), Just(1 << 20)],
    ) {
        let store = Arc::new(MemStore::default());
        let mut checkpoints = open(&store);
        whole(&mut checkpoints, 1, &[("counts", &grouped(&first, groups.0))]);
        whole(&mut checkpoints, 2, &[("counts", &grouped(&second, groups.1))]);
        let all = all(&store);
        let comparison = Comparison::new(&all[0], &all[1], &AsBytes);
        let comparison = comparison.same_groups(groups.0 == groups.1).memory(memory);
        let mut keys = BTreeMap::new();
        let found = comparison
            .state("counts", |d| {
 keys.insert(d.key[0], d.change);
 })
            .unwrap();
        let mut expected = BTreeMap::new();
        for key in 0..40_u8 {
            match (first.get(&key), second.get(&key)) {
                (None, Some(_)) => expected.insert(key, Change::Added),
                (Some(_), None) => expected.insert(key, Change::Removed),
                (Some(a), Some(b)) if a != b => expected.insert(key, Change::Changed),
                _ => None,
            };
        }
        let all_keys: std::collections::BTreeSet<_> = first.keys().chain(second.keys()).collect();
        prop_assert_eq!(found.same, (all_keys.len() - expected.len()) as u64);
        prop_assert_eq!(found.is_equal(), expected.is_empty());
        prop_assert_eq!(keys, expected);
    }
}

/// Two checkpoints of entries, the second on top of the first.
fn store() -> Arc<MemStore> {
    let store = Arc::new(MemStore::default());
    let mut checkpoints = open(&store);
    let counts = table(&[(0, "a", "one"), (0, "b", "two"), (3, "c", "three")]);
    let other = table(&[(0, "x", "ten"), (1, "y", "eleven")]);
    whole(
        &mut checkpoints,
        1,
        &[("counts", &counts), ("other", &other)],
    );
    publish_changes(&mut checkpoints, 1, 2, 2);
    store
}

/// On top of `parent`: in "counts" a key changes, one goes, one comes.
fn publish_changes(checkpoints: &mut Checkpoints, parent: u64, n: u64, others: u64) -> u64 {
    let states = &["counts", "other"];
    let mut writer = checkpoints.begin(meta(Some(parent), n, states)).unwrap();
    let pairs = &table(&[
        (
            0,
            "a",
            &format!("v{}", "x".repeat(usize::try_from(n).unwrap())),
        ),
        (0, "d", "four"),
    ])[&0];
    let changes = block(BlockKind::Delta, &[b"b"], pairs);
    writer.add("counts", 0, changes).unwrap();
    writer.set_keys("counts", 3).unwrap();
    writer.set_keys("other", others).unwrap();
    writer.publish().unwrap().number
}

fn audited(store: &Arc<MemStore>) -> Audit {
    audit(&(Arc::clone(store) as Arc<dyn Store>), &AsBytes).unwrap()
}

fn findings(audit: &Audit) -> Vec<String> {
    let all = audit.checkpoints.iter().flat_map(|c| &c.findings);
    all.map(|f| format!("{} {:?}: {}", f.file, f.offset, f.what))
        .collect()
}

#[test]
fn nothing_is_wrong_with_what_was_written() {
    let store = store();
    let audit = audited(&store);
    assert_eq!(findings(&audit), [""; 0]);
    assert_eq!(audit.leftovers, []);
    assert_eq!((audit.checkpoints.len(), audit.blocks), (2, 5));
    let files = store.names("state-");
    assert_eq!(audit.files, files.len() as u64);
    let bytes: usize = files.iter().map(|name| store.bytes(name).len()).sum();
    assert_eq!(audit.bytes, bytes as u64);
    // Also with what is of format 1, and of others.
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let golden = LocalStore::new(Arc::new(highwater_disk::OsDisk::new()), golden);
    let found = highwater_checkpoint::audit(&(Arc::new(golden) as Arc<dyn Store>), &Nothing);
    assert_eq!(findings(&found.unwrap()), [""; 0]);
}

/// The golden files of format 1 hold bytes that are no entries.
struct Nothing;

impl Meaning for Nothing {
    fn pairs<'a>(
        &self,
        _: &highwater_checkpoint::Manifest,
        _: &StateEntry,
        _: &'a highwater_checkpoint::GroupEntries,
    ) -> Result<Vec<highwater_checkpoint::Pair<'a>>, String> {
        Ok(Vec::new())
    }

    fn is_counted(&self, _: &highwater_checkpoint::Manifest, _: &StateEntry) -> bool {
        false
    }
}

/// F55, F56, F87: every flipped byte of every file is found, and named with its file.
#[test]
fn every_flipped_byte_is_found() {
    let whole = store();
    for name in whole.names("") {
        for at in 0..whole.bytes(&name).len() {
            let store = whole.copy();
            store.edit(&name, |bytes| bytes[at] ^= 0x40);
            let found = findings(&audited(&store));
            let named = found.iter().any(|finding| finding.contains(&name));
            assert!(named, "{name} {at}: {found:?}");
        }
        for (what, cut) in [("missing", None), ("short", Some(1))] {
            let store = whole.copy();
            match cut {
                None => drop(store.remove(&name)),
                Some(cut) => store.edit(&name, |bytes| bytes.truncate(bytes.len() - cut)),
            }
            let audit = audited(&store);
            let is_manifest_gone = cut.is_none() && name.starts_with("manifest");
            let found = findings(&audit).iter().any(|f| f.contains(&name));
            assert_eq!(found, !is_manifest_gone, "{name} {what}");
        }
    }
}

/// Damage of a block is told with its place, beside that of the file.
#[test]
fn a_damaged_block_is_told_with_its_place() {
    let store = store();
    let file = &store.names("state-0000000001")[0];
    store.edit(file, |bytes| bytes[70] ^= 1);
    let found = findings(&audited(&store));
    let told = |what: &str| found.iter().any(|f| f.contains(what) && f.contains(file));
    assert!(told("the hash does not match"), "{found:?}");
    assert!(told("Some(64): block of state 0, key group 0"), "{found:?}");
}

/// What a writer with a fault would leave: all hashes fit.
#[test]
fn entries_that_are_not_as_announced_are_found() {
    type Wrong = fn(&mut GroupBlock);
    let cases: [(&str, Wrong); 4] = [
        ("entries were written", |block| block.entries += 1),
        ("it ends inside an item", |block| {
            block.bytes.pop();
        }),
        ("removed keys", |block| block.removed += 1),
        ("an earlier entry has it too", |block| {
            let twice = block.bytes.repeat(2);
            block.bytes = twice;
            block.entries *= 2;
        }),
    ];
    for (told, wrong) in cases {
        let store = Arc::new(MemStore::default());
        let mut checkpoints = open(&store);
        let mut writer = checkpoints.begin(meta(None, 1, &["counts"])).unwrap();
        let pairs = &table(&[(0, "a", "1"), (0, "b", "2")])[&0];
        let mut block = block(BlockKind::Base, &[], pairs);
        wrong(&mut block);
        writer.add("counts", 0, block).unwrap();
        writer.publish().unwrap();
        let found = findings(&audited(&store));
        assert!(found.iter().any(|f| f.contains(told)), "{told}: {found:?}");
    }
    // A number of keys that is not that of the entries.
    let store = store();
    let mut checkpoints = open(&store);
    let states = ["counts", "other"];
    let mut writer = checkpoints.begin(meta(Some(2), 3, &states)).unwrap();
    writer.set_keys("counts", 4).unwrap();
    writer.set_keys("other", 2).unwrap();
    writer.publish().unwrap();
    let found = findings(&audited(&store));
    let told = "state \"counts\" has 3 keys, 4 were written";
    assert!(found.len() == 1 && found[0].contains(told), "{found:?}");
    // Bytes that mean nothing.
    let found = findings(&audit(&(store as Arc<dyn Store>), &AnyCase).unwrap());
    assert!(
        !found.iter().any(|f| f.contains("it is no text")),
        "{found:?}"
    );
    let store = Arc::new(MemStore::default());
    let odd = table(&[(5, "a", "b"), (5, "c", "1")]);
    whole(&mut open(&store), 1, &[("counts", &odd)]);
    let found = findings(&audit(&(store as Arc<dyn Store>), &AnyCase).unwrap());
    let told = "state \"counts\", key group 5: the value of entry 1: it is no text";
    assert!(found.len() == 1 && found[0].contains(told), "{found:?}");
}

#[test]
fn leftovers_are_told_by_kind() {
    let store = store();
    let state = |number: u64| format!("state-{number:010}-00000000000000aa-00000.hws");
    store.insert("notes.txt", b"not ours");
    store.insert(&state(1), b"unnamed");
    store.insert(&state(3), b"being written");
    store.insert("manifest-0000000003.json.0.tmp", b"temporary");
    let kinds = |store| {
        let leftovers = audited(store).leftovers.into_iter();
        leftovers.map(|l| (l.file, l.kind)).collect::<Vec<_>>()
    };
    let expected = [
        (
            "manifest-0000000003.json.0.tmp".to_owned(),
            LeftoverKind::Temporary,
        ),
        (state(1), LeftoverKind::Unnamed),
        (state(3), LeftoverKind::Unpublished),
    ];
    assert_eq!(kinds(&store), expected);
    assert_eq!(findings(&audited(&store)), [""; 0]);
    store.edit("manifest-0000000002.json", |bytes| bytes[3] ^= 1);
    assert!(kinds(&store).contains(&(state(1), LeftoverKind::PerhapsNamed)));
}

fn inspect(store: &Arc<dyn Store>) -> Vec<(u64, Validity)> {
    let found = Checkpoints::inspect(store).unwrap();
    found.into_iter().map(|c| (c.number, c.validity)).collect()
}

/// Three checkpoints on top of each other, and something that is left over.
fn three() -> Arc<MemStore> {
    let store = store();
    publish_changes(&mut open(&store), 2, 3, 2);
    store.insert("state-0000000001-00000000000000aa-00000.hws", b"left over");
    store.insert("notes.txt", b"not ours");
    store
}

#[test]
fn what_the_newest_need_is_copied_and_nothing_else() {
    let store = three();
    let before = store.bytes("manifest-0000000003.json");
    let dynamic = Arc::clone(&store) as Arc<dyn Store>;
    for (keep, kept) in [(1, vec![3]), (2, vec![2, 3]), (9, vec![1, 2, 3])] {
        let found = Checkpoints::inspect(&dynamic).unwrap();
        let pruning = Pruning::of(&*store, &found, keep).unwrap();
        assert_eq!(pruning.kept, kept);
        let others: Vec<u64> = (1..=3).filter(|n| !kept.contains(n)).collect();
        assert_eq!(pruning.others, others);
        let to = Arc::new(MemStore::default());
        let copied = copy_checkpoints(&*store, &kept, &*to).unwrap();
        let needed: Vec<String> = pruning.needed.iter().map(|f| f.name.clone()).collect();
        assert_eq!(to.names(""), needed);
        assert_eq!(copied.files, needed.len());
        assert_eq!(
            copied.bytes,
            pruning.needed.iter().map(|f| f.size).sum::<u64>()
        );
        let left: Vec<String> = pruning.unneeded.iter().map(|f| f.name.clone()).collect();
        let mut all = [needed, left, vec!["notes.txt".to_owned()]].concat();
        all.sort();
        assert_eq!(all, store.names(""));
        assert_eq!(findings(&audited(&to)), [""; 0]);
        assert_eq!(audited(&to).leftovers, []);
        assert_eq!(to.bytes("manifest-0000000003.json"), before);
    }
    let full = Arc::new(MemStore::default());
    full.insert("notes.txt", b"mine");
    let refused = copy_checkpoints(&*store, &[3], &*full).unwrap_err();
    assert!(refused.to_string().contains("not empty"), "{refused}");
    assert_eq!(full.names(""), ["notes.txt"]);
}

/// A file that has changed since is not passed on.
#[test]
fn damage_is_not_copied() {
    let whole = three();
    for name in whole.names("0000000003") {
        let store = whole.copy();
        store.edit(&name, |bytes| bytes[80] ^= 2);
        let to = MemStore::default();
        let refused = copy_checkpoints(&*store, &[3], &to).unwrap_err();
        assert!(
            matches!(refused, CheckpointError::Damaged { .. }),
            "{name}: {refused}"
        );
        assert_eq!(to.names("manifest"), [""; 0], "{name}");
        store.remove(&name);
        let refused = copy_checkpoints(&*store, &[3], &MemStore::default()).unwrap_err();
        assert!(
            matches!(refused, CheckpointError::Damaged { .. }),
            "{name}: {refused}"
        );
    }
}

/// F87: a forged manifest whose checksum is right leads nowhere else.
#[test]
fn a_forged_name_leads_out_of_no_store() {
    let store = store();
    let name = "manifest-0000000002.json";
    let file = store.names("state-0000000002").remove(0);
    for forged in [
        "../../outside",
        "/tmp/outside",
        "manifest-0000000009.json",
        "a/b.hws",
    ] {
        let text = String::from_utf8(store.bytes(name)).unwrap();
        let (_, inner) = text.split_once("\"manifest\":").unwrap();
        let inner = inner.strip_suffix("}\n").unwrap().replace(&file, forged);
        let hash = blake3::hash(inner.as_bytes()).to_hex();
        let forged = format!("{{\"checksum\":\"blake3:{hash}\",\"manifest\":{inner}}}\n");
        let store = store.copy();
        store.edit(name, |bytes| *bytes = forged.clone().into_bytes());
        let to = MemStore::default();
        let refused = copy_checkpoints(&*store, &[2], &to).unwrap_err();
        let is_damage = matches!(refused, CheckpointError::Damaged { .. });
        assert!(is_damage && to.names("").is_empty(), "{refused}");
        assert!(!findings(&audited(&store)).is_empty());
    }
}

/// F53: the power goes off before every mutation of a copy. What is there is there as a whole.
#[test]
fn a_copy_is_whole_or_not_at_all() {
    let store = three();
    let mut seen = std::collections::BTreeSet::new();
    let mut cuts = 0..;
    let cuts = loop {
        let cut = cuts.next().unwrap();
        let disk = SimDisk::new();
        disk.cut_power_before(cut);
        let to = LocalStore::new(Arc::new(disk.clone()), "/new");
        if copy_checkpoints(&*store, &[2, 3], &to).is_ok() {
            break cut;
        }
        let disk = disk.restart_after_power_cut(cut);
        if disk.files().iter().any(|file| file.starts_with("/new")) {
            let to: Arc<dyn Store> = Arc::new(LocalStore::new(Arc::new(disk), "/new"));
            let found = inspect(&to);
            let is_whole = found.iter().all(|(_, v)| *v == Validity::Valid);
            assert!(is_whole, "{cut}: {found:?}");
            seen.insert(found.iter().map(|(n, _)| *n).collect::<Vec<_>>());
        }
    };
    let expected: [Vec<u64>; 3] = [vec![], vec![2], vec![3, 2]];
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        expected,
        "{cuts} cuts"
    );
}

fn metadata() -> serde_json::Value {
    serde_json::json!({ "without": true })
}

/// The other state is whole, the one that went is dead, and the next checkpoint goes on.
#[test]
fn a_checkpoint_goes_on_without_a_state() {
    let store = store();
    let newest = all(&store).pop().unwrap();
    let to = Arc::new(MemStore::default());
    let made = copy_without(&newest, "other", metadata(), &*to).unwrap();
    assert_eq!(made.number, 3);
    assert_eq!(made.copied.files, to.names("").len());
    assert_eq!(findings(&audited(&to)), [""; 0]);
    let mut checkpoints = open(&to);
    let found = checkpoints.newest().unwrap().unwrap();
    let (was, is) = (newest.manifest(), found.manifest());
    assert_eq!(
        (is.previous, is.lsn, is.batch),
        (Some(2), was.lsn, was.batch)
    );
    assert_eq!((is.log_id, &is.metadata), (LOG, &metadata()));
    assert_eq!(is.generation, was.generation + 1);
    assert_ne!(is.writer, was.writer);
    assert!(is.state("other").is_none());
    for group in [0, 3] {
        let read = |c: &Checkpoint| c.read_group("counts", group).unwrap().unwrap();
        assert_eq!(read(&found), read(&newest));
    }
    // A state of that name begins anew: the old blocks are not its own.
    let states = ["counts", "other"];
    let mut writer = checkpoints.begin(meta(Some(3), 4, &states)).unwrap();
    let pairs = &table(&[(1, "z", "new")])[&1];
    writer
        .add("other", 1, block(BlockKind::Base, &[], pairs))
        .unwrap();
    writer.set_keys("counts", 3).unwrap();
    let published = writer.publish().unwrap();
    assert_eq!(published.number, 4);
    let found = checkpoints.newest().unwrap().unwrap();
    assert_eq!(found.groups("other").unwrap().len(), 1);
    assert_eq!(publish_changes(&mut checkpoints, 4, 5, 1), 5);
    checkpoints.retire().unwrap();
    assert_eq!(findings(&audited(&to)), [""; 0]);
    let left: Vec<Checkpoint> = checkpoints.all().collect();
    let comparison = Comparison::new(&newest, &left[1], &AsBytes).same_groups(true);
    let (found, keys) = compared(&comparison, "counts");
    assert_eq!((found.added, found.removed, found.same), (0, 0, 2));
    assert_eq!(keys, [(Change::Changed, 0, "a".to_owned())]);
}

/// F59: a process that still writes finds its number taken, and stops. One that was told to drop a
/// state of an older checkpoint takes a number above all.
#[test]
fn a_forgotten_writer_is_fenced_by_the_new_store() {
    let store = store();
    let older = all(&store).remove(0);
    let to = Arc::new(MemStore::default());
    assert_eq!(
        copy_without(&older, "other", metadata(), &*to)
            .unwrap()
            .number,
        3
    );
    let mut forgotten = open(&store);
    // The directory is replaced under its feet.
    let new = to.files.lock().unwrap().clone();
    let manifest = meta(None, 3, &["counts"]);
    let mut writer = forgotten.begin(manifest).unwrap();
    let pairs = &table(&[(0, "a", "zombie")])[&0];
    writer
        .add("counts", 0, block(BlockKind::Base, &[], pairs))
        .unwrap();
    *store.files.lock().unwrap() = new;
    let fenced = writer.publish().unwrap_err();
    let is_stopped = matches!(
        fenced,
        CheckpointError::Fenced { number: 3, .. } | CheckpointError::Io { .. }
    );
    assert!(is_stopped, "{fenced}");
    let again = forgotten.begin(meta(None, 3, &["counts"]));
    let again = again.and_then(|writer| writer.publish()).unwrap_err();
    assert!(
        matches!(again, CheckpointError::Fenced { number: 3, .. }),
        "{again}"
    );
}

#[test]
fn a_state_that_cannot_be_dropped_is_refused() {
    let store = store();
    let newest = all(&store).pop().unwrap();
    let to = MemStore::default();
    let refused = copy_without(&newest, "none", metadata(), &to).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("it has no state \"none\" to leave out"),
        "{refused}"
    );
    let full = MemStore::default();
    full.insert("notes.txt", b"mine");
    let refused = copy_without(&newest, "other", metadata(), &full).unwrap_err();
    assert!(refused.to_string().contains("not empty"), "{refused}");
    for file in store.names("state-") {
        let store = store.copy();
        let newest = all(&store).pop().unwrap();
        store.edit(&file, |bytes| bytes[70] ^= 2);
        let to = MemStore::default();
        let made = copy_without(&newest, "other", metadata(), &to);
        let named = newest.manifest().files.iter().any(|f| f.name == file);
        assert!(
            named && matches!(made, Err(CheckpointError::Damaged { .. })),
            "{file}: {made:?}"
        );
        assert_eq!(to.names("manifest"), [""; 0]);
    }
    to.next("manifest", Trouble::AskedInVain);
    let failed = copy_without(&newest, "other", metadata(), &to).unwrap_err();
    assert!(matches!(failed, CheckpointError::Io { .. }), "{failed}");
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let golden = LocalStore::new(Arc::new(highwater_disk::OsDisk::new()), golden);
    let golden: Arc<dyn Store> = Arc::new(golden);
    let old = Checkpoints::inspect(&golden)
        .unwrap()
        .remove(0)
        .manifest
        .unwrap();
    let old = Checkpoint::of_manifest(golden, old);
    let refused = copy_without(&old, "counts", metadata(), &MemStore::default()).unwrap_err();
    assert!(refused.to_string().contains("format 1"), "{refused}");
}
