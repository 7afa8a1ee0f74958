//! How a checkpoint is read from a store whose requests take long: with few of them, several at
//! once, in bounded memory, and with the same findings as one by one.

use crate::common::{content, meta, options, read};
use crate::saved_seeds;
use highwater_checkpoint::testing::{MemoryStore, UnreliableStore};
use highwater_checkpoint::{
    Checkpoint, CheckpointError, Checkpoints, Meta, Options, Reading, Store, StoreError, StoredFile,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// Requests of 1000 bytes, three at once.
const FAR: Reading = Reading {
    request: 1000,
    at_once: 3,
    keep: 1 << 20,
};

/// Key groups of the state "counts".
const GROUPS: u32 = 400;
const CHAIN: u64 = 6;

/// A store that counts what is asked of it.
#[derive(Debug)]
struct Counting {
    files: Arc<dyn Store>,
    reading: Reading,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone)]
struct Counts {
    lens: BTreeMap<String, u64>,
    ranges: BTreeMap<String, u64>,
    bytes: BTreeMap<String, u64>,
    in_flight: u64,
    most_in_flight: u64,
    /// So many requests go well.
    before_failure: Option<(u64, io::ErrorKind)>,
}

impl Counting {
    fn new(files: Arc<dyn Store>, reading: Reading) -> Arc<Self> {
        Arc::new(Self {
            files,
            reading,
            counts: Mutex::default(),
        })
    }

    fn failing(files: Arc<dyn Store>, after: u64, kind: io::ErrorKind) -> Arc<Self> {
        let store = Self::new(files, FAR);
        store.counts.lock().unwrap().before_failure = Some((after, kind));
        store
    }

    fn begin(&self, len: u64) -> io::Result<()> {
        let mut counts = self.counts.lock().unwrap();
        if let Some((before, kind)) = &mut counts.before_failure {
            let kind = *kind;
            *before = before.checked_sub(1).ok_or(kind)?;
        }
        counts.in_flight += len;
        counts.most_in_flight = counts.most_in_flight.max(counts.in_flight);
        Ok(())
    }

    fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }
}

impl Store for Counting {
    fn place(&self) -> String {
        self.files.place()
    }
    fn prepare(&self) -> io::Result<()> {
        self.files.prepare()
    }
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.files.put_new(name, bytes)
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        if name.starts_with("state") {
            self.begin(0)?;
        }
        let mut counts = self.counts.lock().unwrap();
        *counts.lens.entry(name.to_owned()).or_default() += 1;
        self.files.len(name)
    }
    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        if !name.starts_with("state") {
            return self.files.get_range(name, offset, len);
        }
        self.begin(len)?;
        std::thread::yield_now();
        let bytes = self.files.get_range(name, offset, len);
        let mut counts = self.counts.lock().unwrap();
        counts.in_flight -= len;
        *counts.ranges.entry(name.to_owned()).or_default() += 1;
        *counts.bytes.entry(name.to_owned()).or_default() += len;
        bytes
    }
    fn list(&self) -> io::Result<Vec<StoredFile>> {
        self.files.list()
    }
    fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        self.files.delete(names)
    }
    fn reading(&self) -> Reading {
        self.reading
    }
}

/// Which checkpoint has written a key group last: the first has all, the others two thirds.
fn written(upto: u64, group: u32) -> u64 {
    let skips = |n: u64| (n + u64::from(group)).is_multiple_of(3);
    (2..=upto).rev().find(|n| !skips(*n)).unwrap_or(1)
}

/// Checkpoints, each on top of the one before; blocks are as short as a state of few keys.
fn filled() -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let options = Options {
        retain: 2,
        state_file_bytes: 6000,
        ..options(7)
    };
    let mut checkpoints = Checkpoints::open(Arc::clone(&store), options).unwrap();
    for n in 1..=CHAIN {
        let parent = (n > 1).then(|| n - 1);
        let mut writer = checkpoints.begin(Meta { parent, ..meta(n) }).unwrap();
        for group in (0..GROUPS).filter(|group| written(n, *group) == n) {
            let mut bytes = content(n, "counts", group);
            bytes.truncate(90);
            writer.add_block("counts", group, 1, &bytes).unwrap();
        }
        for (state, keys) in [("counts", u64::from(GROUPS)), ("empty", 0), ("sessions", 0)] {
            writer.set_keys(state, keys).unwrap();
        }
        writer.publish().unwrap();
    }
    store
}

/// Every group, in order, as a start does.
fn check_all(checkpoint: &Checkpoint) {
    let groups = checkpoint.groups("counts").unwrap();
    assert_eq!(groups.len(), GROUPS as usize);
    for group in groups {
        let group = group.key_group;
        let mut expected = content(written(checkpoint.number(), group), "counts", group);
        expected.truncate(90);
        assert_eq!(read(checkpoint, "counts", group), Some(expected), "{group}");
    }
}

fn newest(store: &Arc<Counting>) -> Checkpoint {
    let mut checkpoints = Checkpoints::open(store.clone(), options(8)).unwrap();
    store.counts.lock().unwrap().lens.clear();
    checkpoints.newest().unwrap().unwrap()
}

#[test]
fn what_was_verified_is_not_asked_for_again() {
    let store = Counting::new(filled(), FAR);
    let checkpoint = newest(&store);
    check_all(&checkpoint);
    let counts = store.counts();
    let files = &checkpoint.manifest().files;
    assert!(files.len() > 5 && files.iter().any(|file| file.size > 4000));
    for file in files {
        assert_eq!(counts.lens[&file.name], 1, "{counts:?}");
        assert_eq!(counts.ranges[&file.name], file.size.div_ceil(1000));
        assert_eq!(counts.bytes[&file.name], file.size);
    }
    assert!(counts.most_in_flight <= 3 * 1000, "{counts:?}");
    assert!(counts.most_in_flight > 1000, "one after the other");
}

/// Files that do not fit are read twice, in order; their number of blocks does not matter.
#[test]
fn of_what_does_not_fit_each_byte_is_asked_for_twice() {
    for keep in [1, 9000, 20_000] {
        let store = Counting::new(filled(), Reading { keep, ..FAR });
        let checkpoint = newest(&store);
        check_all(&checkpoint);
        let counts = store.counts();
        let files = &checkpoint.manifest().files;
        let mut kept = 0;
        for file in files {
            let (bytes, size) = (counts.bytes[&file.name], file.size);
            kept += if bytes == size { size } else { 0 };
            // The end is asked for once more: the index.
            assert!(bytes <= 3 * size, "{keep} {file:?} {counts:?}");
            let piece = 6000 / (2 * files.len() as u64);
            let requests = 1 + size.div_ceil(1000) + size.div_ceil(piece);
            assert!(counts.ranges[&file.name] <= requests, "{file:?} {counts:?}");
        }
        assert!(kept <= keep, "{kept} of {keep}");
        assert!(kept > 0 || keep < 9000, "nothing is kept");
        let longest = files.iter().map(|file| file.size).max();
        assert!(counts.most_in_flight <= longest.unwrap().max(3000));
    }
}

#[test]
fn nearby_each_block_is_read_when_it_is_needed() {
    let store = Counting::new(filled(), Reading::NEAR);
    let checkpoint = newest(&store);
    let verified = store.counts();
    assert!(verified.ranges.values().all(|ranges| *ranges == 1));
    checkpoint.read_group("counts", 3).unwrap();
    let index = |name: &String| verified.ranges[name] + 1;
    let counts = store.counts();
    let more: u64 = counts
        .ranges
        .iter()
        .map(|(n, count)| count - index(n))
        .sum();
    assert!((1..=CHAIN).contains(&more), "{counts:?}");
}

/// Whichever request fails: never is a checkpoint passed over because of it, and a repetition finds
/// everything.
#[test]
fn a_failure_is_no_damage() {
    let files = filled();
    let whole = Counting::new(Arc::clone(&files), FAR);
    let all: u64 = {
        newest(&whole);
        let counts = whole.counts();
        counts.ranges.values().chain(counts.lens.values()).sum()
    };
    for after in 0..all {
        let store = Counting::failing(Arc::clone(&files), after, io::ErrorKind::TimedOut);
        let mut checkpoints = Checkpoints::open(store.clone(), options(8)).unwrap();
        match checkpoints.newest().unwrap_err() {
            CheckpointError::Io { .. } => {}
            other => panic!("{after}: {other}"),
        }
        store.counts.lock().unwrap().before_failure = None;
        let found = checkpoints.newest().unwrap().unwrap();
        assert!(found.skipped().is_empty());
        check_all(&found);
    }
    // What follows the verification too.
    let store = Counting::new(files, Reading { keep: 1, ..FAR });
    let checkpoint = newest(&store);
    for after in 0..40 {
        store.counts.lock().unwrap().before_failure = Some((after, io::ErrorKind::TimedOut));
        let groups = checkpoint.groups("counts");
        let failed = groups.and_then(|groups| {
            let mut groups = groups.into_iter();
            groups.try_for_each(|g| checkpoint.read_group("counts", g.key_group).map(drop))
        });
        if let Err(error) = failed {
            assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
        }
    }
    store.counts.lock().unwrap().before_failure = None;
    check_all(&checkpoint);
}

/// The file that is named is the one that is found one by one: the first of the manifest.
#[test]
fn the_first_damaged_file_is_named() {
    for (first, second) in [(0, 1), (1, 4), (2, 3)] {
        let mut found = Vec::new();
        for reading in [Reading::NEAR, FAR, Reading { keep: 1, ..FAR }] {
            let files = filled();
            let store = Counting::new(Arc::clone(&files), reading);
            let names: Vec<String> = {
                let checkpoint = newest(&store);
                let files = &checkpoint.manifest().files;
                files.iter().map(|file| file.name.clone()).collect()
            };
            let damaged = |name: &str, from_end: usize| {
                let mut bytes = files.get(name, 1 << 20).unwrap();
                let at = bytes.len() - 1 - from_end;
                bytes[at] ^= 1;
                files.delete(&[name.to_owned()]).unwrap();
                files.put_new(name, &bytes).unwrap();
            };
            damaged(&names[first], 0);
            damaged(&names[second], 100);
            let mut checkpoints = Checkpoints::open(store, options(8)).unwrap();
            let error = checkpoints.newest().map(drop);
            let reasons = match error {
                Err(CheckpointError::NoneValid { skipped, .. }) => skipped,
                Ok(()) => checkpoints.newest().unwrap().unwrap().skipped().to_vec(),
                Err(other) => panic!("{other}"),
            };
            let newest = reasons.iter().map(|s| s.reason.clone()).next().unwrap();
            assert!(newest.contains(&names[first]), "{newest}");
            found.push(newest.replace(&names[first], "FILE"));
        }
        found.dedup();
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

/// Answers that are lost, resets, expired credentials: an error, or the whole checkpoint.
#[test]
fn an_unreliable_store_hides_nothing() {
    let files = filled();
    let (mut went_well, mut failed) = (0, 0);
    for seed in saved_seeds::seeds(0..60) {
        for keep in [1, 1 << 20] {
            let far = Counting::new(Arc::clone(&files), Reading { keep, ..FAR });
            let store = Arc::new(UnreliableStore::new(far, seed, 150));
            let opened = Checkpoints::open(store, options(8));
            let found = opened.and_then(|mut checkpoints| checkpoints.newest());
            let read = found.and_then(|found| {
                let found = found.unwrap();
                assert!(found.skipped().is_empty(), "{seed}");
                assert_eq!(found.number(), CHAIN);
                for group in found.groups("counts")? {
                    let group = group.key_group;
                    let bytes = found.read_group("counts", group)?.unwrap().bytes;
                    let mut expected = content(written(CHAIN, group), "counts", group);
                    expected.truncate(90);
                    assert_eq!(bytes, expected, "{seed} {group}");
                }
                Ok(())
            });
            match read {
                Ok(()) => went_well += 1,
                Err(CheckpointError::Io { .. }) => failed += 1,
                Err(other) => panic!("{seed}: {other}"),
            }
        }
    }
    let met = went_well > 5 && failed > 5;
    assert!(met || !saved_seeds::all_seeds(), "{went_well} {failed}");
}
