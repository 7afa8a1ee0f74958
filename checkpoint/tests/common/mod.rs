//! What the tests of this crate share: known content, a store in memory that fails on order, and
//! checks.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod contract;

use highwater_checkpoint::{
    Batch, Checkpoint, Checkpoints, LogBounds, Meta, Options, Ownership, Published, Reading,
    Result, StateMeta, Store, StoreError, StoredFile,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) const LOG: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
pub(crate) const WRITER: u64 = 0xfeed_0000_0000_0001;

/// Small parts, so that every checkpoint has several state files.
pub(crate) const PART: u64 = 512;

pub(crate) fn options(writer: u64) -> Options {
    Options {
        writer,
        retain: 2,
        state_file_bytes: PART,
        ownership: Ownership::Sole,
        ..Options::default()
    }
}

pub(crate) fn lsn(n: u64) -> u64 {
    n * 1000
}

pub(crate) fn meta(n: u64) -> Meta {
    Meta {
        parent: None,
        log_id: LOG,
        application: "word-count".to_owned(),
        created_ms: 1_763_633_000_000 + n,
        batch: Batch {
            id: 10 * n,
            time_ms: 1_763_633_000_000,
        },
        lsn: lsn(n),
        metadata: serde_json::json!({ "key_groups": 4, "offsets": { "lines": n } }),
        states: ["counts", "empty", "sessions"].map(state).to_vec(),
    }
}

pub(crate) fn state(name: &str) -> StateMeta {
    StateMeta {
        name: name.to_owned(),
        kind: "update_state_by_key".to_owned(),
        codec: "messagepack".to_owned(),
        fingerprint: "alloc::string::String -> u64".to_owned(),
        anew: false,
    }
}

/// The bytes of a key group in checkpoint `n`: different for each, of various lengths, 0 included.
pub(crate) fn content(n: u64, state: &str, group: u32) -> Vec<u8> {
    let seed = blake3::hash(format!("{n} {state} {group}").as_bytes());
    let mut bytes = vec![0; (usize::from(seed.as_bytes()[0]) * 3) * usize::from(group != 2)];
    blake3::Hasher::new()
        .update(seed.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

pub(crate) const BLOCKS: [(&str, u32); 5] = [
    ("sessions", 3),
    ("counts", 0),
    ("counts", 2),
    ("counts", 1),
    ("sessions", 0),
];

/// Writes the checkpoint with the content of `n`.
pub(crate) fn publish(checkpoints: &mut Checkpoints, n: u64) -> Result<Published> {
    let mut writer = checkpoints.begin(meta(n))?;
    for (state, group) in BLOCKS {
        writer.add_block(
            state,
            group,
            u64::from(group) + 1,
            &content(n, state, group),
        )?;
    }
    writer.publish()
}

/// Writes the checkpoint with the content of `n` in every other key group, on top of the newest
/// one, if there is one.
pub(crate) fn publish_on_top(checkpoints: &mut Checkpoints, n: u64) -> Result<Published> {
    let parent = checkpoints.manifests().last().map(|m| m.number);
    let mut writer = checkpoints.begin(Meta { parent, ..meta(n) })?;
    for (state, group) in BLOCKS {
        if parent.is_none() || is_written(n, group) {
            let entries = u64::from(group) + 1;
            writer.add_block(state, group, entries, &content(n, state, group))?;
        }
    }
    for (state, keys) in [("counts", 6), ("empty", 0), ("sessions", 5)] {
        writer.set_keys(state, keys)?;
    }
    writer.publish()
}

fn is_written(n: u64, group: u32) -> bool {
    (n + u64::from(group)).is_multiple_of(2)
}

/// Every byte of the checkpoint is that of `n` or, where that has none, of the one before.
pub(crate) fn check_on_top(checkpoint: &Checkpoint, n: u64) {
    assert_eq!(checkpoint.manifest().lsn, lsn(n));
    for (state, group) in BLOCKS {
        let last = if n == 1 || is_written(n, group) {
            n
        } else {
            n - 1
        };
        let expected = Some(content(last, state, group));
        assert_eq!(read(checkpoint, state, group), expected, "{state} {group}");
    }
}

/// The bytes of a key group.
pub(crate) fn read(checkpoint: &Checkpoint, state: &str, group: u32) -> Option<Vec<u8>> {
    let read = checkpoint.read_group(state, group).unwrap();
    read.map(|group| group.bytes)
}

/// Every byte of the checkpoint is that of `n`.
pub(crate) fn check(checkpoint: &Checkpoint, n: u64) {
    let meta = meta(n);
    let manifest = checkpoint.manifest();
    assert_eq!(manifest.lsn, meta.lsn);
    assert_eq!(manifest.batch, meta.batch);
    assert_eq!(manifest.metadata, meta.metadata);
    assert_eq!(manifest.log_id, LOG);
    for (state, group) in BLOCKS {
        let read = read(checkpoint, state, group);
        assert_eq!(read, Some(content(n, state, group)), "{state} {group}");
    }
    assert_eq!(read(checkpoint, "empty", 0), None);
    assert_eq!(read(checkpoint, "counts", 3), None);
    assert_eq!(read(checkpoint, "unknown", 0), None);
}

pub(crate) fn log(first: u64, end: u64) -> LogBounds {
    LogBounds {
        log_id: LOG,
        first_lsn: first,
        end_lsn: end,
    }
}

/// A store with checkpoints 1 to `last`, two of them retained.
pub(crate) fn filled(last: u64) -> Arc<MemStore> {
    let store = Arc::new(MemStore::default());
    let mut checkpoints = Checkpoints::open(store.clone(), options(WRITER)).unwrap();
    for n in 1..=last {
        publish(&mut checkpoints, n).unwrap();
        checkpoints.retire().unwrap();
    }
    store
}

/// A store in memory, as strict as an object store.
#[derive(Debug, Default)]
pub(crate) struct MemStore {
    pub(crate) files: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What the next creation of a file whose name contains the text does, once.
    pub(crate) trouble: Mutex<Option<(String, Trouble)>>,
    /// Names that no listing shows.
    pub(crate) unlisted: Mutex<Vec<String>>,
    /// A name that listings still show.
    pub(crate) retired: Mutex<Option<String>>,
    /// What will be stored later.
    pub(crate) late: Mutex<Vec<(String, Vec<u8>)>>,
    /// The names that were asked for.
    pub(crate) asked: Mutex<Vec<String>>,
    /// The next removal succeeds, and its answer is lost.
    pub(crate) removal_unanswered: AtomicBool,
    /// It is read as a store whose requests take long.
    pub(crate) is_far: AtomicBool,
}

/// Small enough for files to have several parts, and not to fit all.
const FAR: Reading = Reading {
    request: 100,
    at_once: 3,
    keep: 600,
};

/// How a creation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing is stored, and the store knows it.
    Refused,
    /// Nothing is stored, and the answer is lost.
    AskedInVain,
    /// The answer is lost, and it is stored later: [`MemStore::let_late_ones_come`].
    Late,
    /// It is stored, and the answer is lost.
    AnswerLost,
    /// It is stored, the answer is lost, and the client asks again.
    AnswerLostAndRetried,
    /// Nothing is stored, but the answer says that it exists (S3's 409).
    FalseConflict,
}

impl MemStore {
    pub(crate) fn copy(&self) -> Arc<Self> {
        let files = Mutex::new(self.files.lock().unwrap().clone());
        Arc::new(Self {
            files,
            ..Self::default()
        })
    }

    pub(crate) fn next(&self, name: &str, trouble: Trouble) {
        *self.trouble.lock().unwrap() = Some((name.to_owned(), trouble));
    }

    pub(crate) fn let_late_ones_come(&self) {
        for (name, bytes) in self.late.lock().unwrap().drain(..) {
            let mut files = self.files.lock().unwrap();
            files.entry(name).or_insert(bytes);
        }
    }

    pub(crate) fn names(&self, part: &str) -> Vec<String> {
        let files = self.files.lock().unwrap();
        files.keys().filter(|n| n.contains(part)).cloned().collect()
    }

    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(self.files.lock().unwrap().get_mut(name).unwrap());
    }

    pub(crate) fn remove(&self, name: &str) -> Vec<u8> {
        self.files.lock().unwrap().remove(name).unwrap()
    }

    pub(crate) fn insert(&self, name: &str, bytes: &[u8]) {
        self.files
            .lock()
            .unwrap()
            .insert(name.to_owned(), bytes.to_vec());
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.files.lock().unwrap().get(name).unwrap().clone()
    }
}

impl Store for MemStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut trouble = self.trouble.lock().unwrap();
        let struck = trouble
            .as_ref()
            .filter(|t| name.contains(&t.0))
            .map(|t| t.1);
        if struck.is_some() {
            *trouble = None;
        }
        let mut files = self.files.lock().unwrap();
        match struck {
            Some(Trouble::Refused) => {
                let full = io::ErrorKind::StorageFull.into();
                return Err(StoreError::determinate(full));
            }
            Some(Trouble::Late) => {
                let late = (name.to_owned(), bytes.to_vec());
                self.late.lock().unwrap().push(late);
                return Err(io::ErrorKind::TimedOut.into());
            }
            Some(Trouble::AskedInVain) => return Err(io::ErrorKind::TimedOut.into()),
            Some(Trouble::FalseConflict) => return Err(io::ErrorKind::AlreadyExists.into()),
            _ => {}
        }
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.insert(name.to_owned(), bytes.to_vec());
        match struck {
            Some(Trouble::AnswerLost) => Err(io::ErrorKind::TimedOut.into()),
            Some(Trouble::AnswerLostAndRetried) => Err(io::ErrorKind::AlreadyExists.into()),
            _ => Ok(()),
        }
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.asked.lock().unwrap().push(name.to_owned());
        let files = self.files.lock().unwrap();
        files
            .get(name)
            .map(|b| b.len() as u64)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let files = self.files.lock().unwrap();
        let bytes = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(offset).unwrap();
        let to = from + usize::try_from(len).unwrap();
        Ok(bytes
            .get(from..to)
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .to_vec())
    }

    fn reading(&self) -> Reading {
        match self.is_far.load(Ordering::Relaxed) {
            true => FAR,
            false => Reading::NEAR,
        }
    }

    fn list(&self) -> io::Result<Vec<StoredFile>> {
        let unlisted = self.unlisted.lock().unwrap();
        let files = self.files.lock().unwrap();
        let listed = files.iter().filter(|(n, _)| !unlisted.contains(n));
        let listed = listed.map(|(n, b)| (n.clone(), b.len() as u64));
        let retired = self.retired.lock().unwrap().clone();
        let listed = listed.chain(retired.map(|name| (name, 1)));
        Ok(listed
            .map(|(name, size)| StoredFile { name, size })
            .collect())
    }

    fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        self.files.lock().unwrap().retain(|n, _| !names.contains(n));
        match self.removal_unanswered.swap(false, Ordering::Relaxed) {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }
}
