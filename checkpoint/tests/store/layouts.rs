//! A chain of checkpoints whose blocks are laid out in either way, each by another process, with
//! the power cut at every mutation.

use crate::common::{meta, options};
use highwater_checkpoint::entries::{append, entries};
use highwater_checkpoint::{
    AsBytes, Audited, BlockKind, Checkpoint, Checkpoints, GroupBlock, Layout, LocalStore, Meta,
    Options, Result, Store, audit,
};
use highwater_disk::SimDisk;
use std::collections::BTreeMap;
use std::sync::Arc;

const GROUPS: u32 = 3;
const KEYS: u8 = 60;

/// What a key of a group has.
type Model = BTreeMap<(u32, u8), u64>;

fn store(disk: &SimDisk) -> Arc<dyn Store> {
    Arc::new(LocalStore::new(Arc::new(disk.clone()), "/app/checkpoints"))
}

fn open(disk: &SimDisk, writer: u64, layout: Layout) -> Result<Checkpoints> {
    let options = Options {
        layout,
        state_file_bytes: 1 << 20,
        ..options(writer)
    };
    Checkpoints::open(store(disk), options)
}

/// Whether checkpoint `n` changes a key.
fn changes(n: u64, group: u32, key: u8) -> bool {
    n == 1 || (n + u64::from(group) + u64::from(key)).is_multiple_of(4)
}

fn model(upto: u64) -> Model {
    let mut all = Model::new();
    for n in 1..=upto {
        for group in 0..GROUPS {
            let changed = (0..KEYS).filter(|key| changes(n, group, *key));
            all.extend(changed.map(|key| ((group, key), n)));
        }
    }
    all
}

/// `{"amount": n, "currency": "EUR"}`, in MessagePack.
fn value(n: u64) -> Vec<u8> {
    let amount = [&b"\x82\xA6amount\xCF"[..], &n.to_be_bytes()].concat();
    [&amount[..], b"\xA8currency\xA3EUR"].concat()
}

fn publish(checkpoints: &mut Checkpoints, n: u64) -> Result<()> {
    let parent = checkpoints.manifests().last().map(|m| m.number);
    let mut writer = checkpoints.begin(Meta { parent, ..meta(n) })?;
    for group in 0..GROUPS {
        let mut block = GroupBlock {
            kind: match parent {
                Some(_) => BlockKind::Delta,
                None => BlockKind::Base,
            },
            removed: 0,
            entries: 0,
            bytes: Vec::new(),
        };
        for key in (0..KEYS).filter(|key| changes(n, group, *key)) {
            for item in [vec![key], value(n)] {
                append(&mut block.bytes, |out| {
                    out.extend_from_slice(&item);
                    Ok::<(), String>(())
                })
                .unwrap();
            }
            block.entries += 1;
        }
        writer.add("counts", group, block)?;
    }
    let keys = u64::from(GROUPS) * u64::from(KEYS);
    for (state, keys) in [("counts", keys), ("empty", 0), ("sessions", 0)] {
        writer.set_keys(state, keys)?;
    }
    writer.publish()?;
    checkpoints.retire().map(drop)
}

fn check(checkpoint: &Checkpoint, n: u64) {
    let expected = model(n);
    let mut found = 0;
    for group in 0..GROUPS {
        let read = checkpoint.read_group("counts", group).unwrap().unwrap();
        for entry in entries(&read.bytes) {
            let (key, state) = entry.unwrap();
            assert_eq!(state, value(expected[&(group, key[0])]), "{group} {key:?}");
            found += 1;
        }
    }
    assert_eq!(found, expected.len());
}

fn layout_of(n: u64, layouts: u64) -> Layout {
    match (layouts >> n) & 1 {
        0 => Layout::Rows,
        _ => Layout::Columns,
    }
}

#[test]
fn a_chain_may_have_both() {
    for layouts in [
        0b0000_0000,
        0b0101_0101,
        0b1010_1010,
        0b0011_0011,
        0b1111_1111,
    ] {
        let disk = SimDisk::new();
        for n in 1..=6 {
            let mut checkpoints = open(&disk, n, layout_of(n, layouts)).unwrap();
            if let Some(newest) = checkpoints.newest().unwrap() {
                check(&newest, n - 1);
            }
            publish(&mut checkpoints, n).unwrap();
        }
        // The power goes off before each mutation of the next one.
        for cut in 0.. {
            let cut_off = disk.snapshot();
            cut_off.cut_power_before(cut);
            let layout = layout_of(7, layouts);
            let outcome = open(&cut_off, 7, layout).and_then(|mut c| publish(&mut c, 7));
            if outcome.is_ok() {
                assert!(cut > 5, "the loop saw {cut} mutations only");
                cut_off.cut_power_now();
            }
            let rebooted = cut_off.restart_after_power_cut(cut);
            let mut checkpoints = open(&rebooted, 8, layout_of(8, !layouts)).unwrap();
            let newest = checkpoints.newest().unwrap().unwrap();
            let number = newest.number();
            assert!(number == 7 || (number == 6 && outcome.is_err()));
            assert!(newest.skipped().is_empty());
            check(&newest, number);
            publish(&mut checkpoints, number + 1).unwrap();
            check(&checkpoints.newest().unwrap().unwrap(), number + 1);
            if outcome.is_ok() {
                break;
            }
        }
    }
}

/// The same content takes less.
#[test]
fn columns_are_smaller_and_nobody_sees_a_difference() {
    let disks = [Layout::Rows, Layout::Columns].map(|layout| {
        let disk = SimDisk::new();
        publish(&mut open(&disk, 1, layout).unwrap(), 1).unwrap();
        disk
    });
    let newest = disks.each_ref().map(|disk| {
        let mut checkpoints = open(disk, 2, Layout::Rows).unwrap();
        checkpoints.newest().unwrap().unwrap()
    });
    let [rows, columns] = newest.each_ref().map(|c| c.manifest().state_bytes());
    assert!(columns < rows, "{columns} of {rows}");
    for group in 0..GROUPS {
        let [rows, columns] = newest
            .each_ref()
            .map(|c| c.read_group("counts", group).unwrap());
        assert_eq!(rows, columns);
    }
    for disk in &disks {
        let audited = audit(&store(disk), &AsBytes).unwrap();
        assert!(audited.checkpoints.iter().all(is_well), "{audited:?}");
    }
}

fn is_well(audited: &Audited) -> bool {
    audited.findings.is_empty()
}
