//! All checkpoints of one store, and the one process that may add to them.

use crate::checkpoint::{Checkpoint, LogBounds};
use crate::error::{CheckpointError, Result, Skipped};
use crate::inspect::{self, Inspected};
use crate::manifest::document::{MAX_MANIFEST_BYTES, Manifest};
use crate::retention::garbage;
use crate::retention::losses::{self, missing_file, sizes};
use crate::store::names::{MAX_NUMBER, Name, manifest_name};
use crate::store::{Store, StoredFile};
use crate::writer::{Draft, Meta};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;

/// No fewer valid checkpoints than this are retained: one may be damaged without loss.
pub const MIN_RETAIN: usize = 2;

/// How checkpoints are written and kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Identifies the writing process; must differ from every other's. Random by default.
    pub writer: u64,
    /// How many valid checkpoints [`Checkpoints::retire`] leaves; values below [`MIN_RETAIN`] count
    /// as that.
    pub retain: usize,
    /// A state file is closed when the next block would make it longer than this, in bytes. One
    /// part is held in memory.
    pub part_bytes: u64,
    /// Who else may be writing.
    pub ownership: Ownership,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            writer: RandomState::new().hash_one("writer"),
            retain: MIN_RETAIN,
            part_bytes: 64 << 20,
            ownership: Ownership::Shared,
        }
    }
}

/// Who may be writing into a store besides this process. Publication is safe either way; this
/// decides when the files of an attempt that was never published may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// A forgotten process may still be at it: what is younger than the newest checkpoint is left
    /// alone.
    Shared,
    /// The caller holds a lock that excludes every other writer: leftovers go at once.
    Sole,
}

/// What [`Checkpoints::retire`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// The checkpoints that were removed, ascending.
    pub removed: Vec<u64>,
    /// See [`Checkpoints::oldest_needed_lsn`].
    pub oldest_needed_lsn: Option<u64>,
}

/// The checkpoints of a store, opened for writing. One per store and process; it can be moved to
/// another thread.
#[derive(Debug)]
pub struct Checkpoints {
    store: Arc<dyn Store>,
    options: Options,
    generation: u64,
    /// Every manifest of the store, by number.
    known: BTreeMap<u64, Known>,
    /// A number of ours whose publication failed, so that it may have happened or not.
    in_doubt: Option<u64>,
    /// Attempts whose state files were found at open: never used again.
    seen_attempts: BTreeSet<u64>,
    attempts: u64,
}

/// What is known about a manifest.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It can be trusted, as far as anybody has looked.
    Sound(Arc<Manifest>),
    /// It cannot be used, and why.
    Unsound(String),
}

impl Checkpoints {
    /// Opens the store for writing: reads every manifest and removes what crashed attempts have
    /// left. State files are not read yet: [`Self::newest`] does that.
    ///
    /// # Errors
    /// [`CheckpointError::NewerFormat`] if any checkpoint is a newer version's (nothing is
    /// changed); [`CheckpointError::Io`].
    pub fn open(store: Arc<dyn Store>, options: Options) -> Result<Self> {
        store
            .prepare()
            .map_err(|e| CheckpointError::io("prepare", store.place(), e))?;
        let listing = list(&*store)?;
        let known = read_known(&*store, &listing)?;
        let seen_attempts = listing.iter().filter_map(|f| match Name::parse(&f.name) {
            Name::State(state) => Some(state.attempt),
            _ => None,
        });
        let generations = known
            .values()
            .map(|k| k.sound().map_or(0, |m| m.generation));
        let this = Self {
            generation: generations.max().unwrap_or(0).saturating_add(1),
            seen_attempts: seen_attempts.collect(),
            store,
            options,
            known,
            in_doubt: None,
            attempts: 0,
        };
        this.collect_garbage(&listing)?;
        Ok(this)
    }

    /// Looks at every checkpoint of a store, newest first, reading all files. Never writes.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]. Damage is no error here: it is what is reported.
    pub fn inspect(store: &Arc<dyn Store>) -> Result<Vec<Inspected>> {
        inspect::inspect(store)
    }

    /// The id of this writer.
    #[must_use]
    pub fn writer(&self) -> u64 {
        self.options.writer
    }

    /// How many processes have written here, this one included.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The newest checkpoint that is whole. All its files are read and hashed. If newer ones are
    /// damaged, they are passed over, with a warning and in [`Checkpoint::skipped`]. `None` if
    /// there are no checkpoints at all.
    ///
    /// # Errors
    /// [`CheckpointError::NoneValid`] if there are checkpoints, but not one is whole;
    /// [`CheckpointError::Io`].
    pub fn newest(&mut self) -> Result<Option<Checkpoint>> {
        let mut skipped = Vec::new();
        let numbers: Vec<u64> = self.known.keys().rev().copied().collect();
        for number in numbers {
            let reason = match self.known.get(&number) {
                Some(Known::Unsound(reason)) => reason.clone(),
                Some(Known::Sound(manifest)) => {
                    let store = Arc::clone(&self.store);
                    let found = Checkpoint::new(store, Arc::clone(manifest), skipped.clone());
                    match found.verify() {
                        Ok(()) => return Ok(Some(found)),
                        Err(e) => e.damage().ok_or(e)?,
                    }
                }
                None => continue,
            };
            tracing::warn!(
                number,
                reason,
                "checkpoint passed over, trying the one before"
            );
            self.known.insert(number, Known::Unsound(reason.clone()));
            skipped.push(Skipped { number, reason });
        }
        if skipped.is_empty() {
            return Ok(None);
        }
        Err(CheckpointError::NoneValid {
            place: self.store.place(),
            skipped,
        })
    }

    /// [`Self::newest`], if it goes with the log; what a recovery calls. An older checkpoint is as
    /// good as the newest if the log still reaches back to it.
    ///
    /// # Errors
    /// Those of [`Self::newest`] and [`Checkpoint::check_log`].
    pub fn newest_for(&mut self, log: &LogBounds) -> Result<Option<Checkpoint>> {
        let newest = self.newest()?;
        newest.map(|c| c.check_log(log).map(|()| c)).transpose()
    }

    /// Begins a checkpoint. Nothing is visible to anybody until [`Draft::publish`].
    ///
    /// # Errors
    /// [`CheckpointError::Misuse`] if `meta` is not consistent; [`CheckpointError::OtherLog`] if
    /// the checkpoints here are another log's; [`CheckpointError::Fenced`];
    /// [`CheckpointError::Io`].
    pub fn draft(&mut self, meta: Meta) -> Result<Draft<'_>> {
        self.store
            .remake()
            .map_err(|e| CheckpointError::io("make again", self.store.place(), e))?;
        self.resolve_doubt()?;
        let number = self.known.keys().next_back().map_or(1, |n| n + 1);
        let misuse = |what: String| Err(CheckpointError::Misuse { number, what });
        if number > MAX_NUMBER {
            return misuse(format!("{MAX_NUMBER} is the last number there is"));
        }
        if let Some(newest) = self.sound().next_back() {
            if newest.log_id != meta.log_id {
                let (checkpoint_log, log) = (newest.log_id, meta.log_id);
                return Err(CheckpointError::OtherLog {
                    number: newest.number,
                    checkpoint_log,
                    log,
                });
            }
            if meta.lsn < newest.lsn {
                let (n, lsn) = (newest.number, newest.lsn);
                return misuse(format!(
                    "LSN {} lies before {lsn}, of checkpoint {n}",
                    meta.lsn
                ));
            }
        }
        let attempt = self.next_attempt();
        Draft::new(self, number, attempt, meta)
    }

    /// Removes what is no longer needed: checkpoints older than the newest `retain` valid ones
    /// (manifests first, so that a checkpoint is never visible without its files), and leftovers.
    /// Call it after each publication; after an error, after the next.
    ///
    /// A checkpoint counts only as long as its files are in the store: one that somebody has
    /// removed is warned of, and needs nothing and stands in for nothing any more. Until enough new
    /// ones are published nothing may be truncated.
    ///
    /// # Errors
    /// [`CheckpointError::Fenced`] if another writer has taken over: nothing was removed, and the
    /// log must not be truncated; [`CheckpointError::Io`].
    pub fn retire(&mut self) -> Result<Retired> {
        self.resolve_doubt()?;
        let listing = list(&*self.store)?;
        self.check_not_fenced(&listing)?;
        self.notice_losses(&listing)?;
        let oldest_kept = self.sound().rev().map(|m| m.number).nth(self.retain() - 1);
        let removed: Vec<u64> = oldest_kept
            .map(|kept| self.known.range(..kept).map(|(n, _)| *n).collect())
            .unwrap_or_default();
        if !removed.is_empty() {
            let names: Vec<String> = removed.iter().map(|n| manifest_name(*n)).collect();
            self.delete(&names)?;
            self.known.retain(|n, _| !removed.contains(n));
        }
        self.collect_garbage(&listing)?;
        Ok(Retired {
            removed,
            oldest_needed_lsn: self.oldest_needed_lsn(),
        })
    }

    /// The log may be truncated below this LSN and not further: some checkpoint of the store needs
    /// the rest. `None` as long as there are fewer valid checkpoints than are to be retained: then
    /// the log's beginning is what stands in for the missing one, and nothing may be truncated.
    #[must_use]
    pub fn oldest_needed_lsn(&self) -> Option<u64> {
        let enough = self.sound().count() >= self.retain();
        enough.then(|| self.sound().map(|m| m.lsn).min()).flatten()
    }

    /// The manifests of the store that are not known to be damaged, ascending by number.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.sound().map(|m| &**m)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// The highest number in the store, usable or not.
    pub(crate) fn last_number(&self) -> Option<u64> {
        self.known.keys().next_back().copied()
    }

    pub(crate) fn published(&mut self, manifest: Manifest) {
        self.known
            .insert(manifest.number, Known::Sound(Arc::new(manifest)));
    }

    pub(crate) fn publication_in_doubt(&mut self, number: u64) {
        self.in_doubt = Some(number);
    }

    fn retain(&self) -> usize {
        self.options.retain.max(MIN_RETAIN)
    }

    fn sound(&self) -> impl DoubleEndedIterator<Item = &Arc<Manifest>> {
        self.known.values().filter_map(Known::sound)
    }

    /// Never the attempt of a crashed process, even if that had the same writer id.
    fn next_attempt(&mut self) -> u64 {
        loop {
            self.attempts += 1;
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.options.writer.to_le_bytes());
            hasher.update(&self.attempts.to_le_bytes());
            let mut attempt = [0; 8];
            hasher.finalize_xof().fill(&mut attempt);
            let attempt = u64::from_le_bytes(attempt);
            if self.seen_attempts.insert(attempt) {
                return attempt;
            }
        }
    }

    /// After a failed publication: is it there? If it is ours, it counts as there but not as
    /// retained, since nobody has confirmed that it is durable.
    fn resolve_doubt(&mut self) -> Result<()> {
        let Some(number) = self.in_doubt else {
            return Ok(());
        };
        match read_manifest(&*self.store, number)? {
            None => {}
            Some(Ok(manifest)) if manifest.writer != self.options.writer => {
                return Err(CheckpointError::Fenced {
                    number,
                    writer: manifest.writer,
                });
            }
            Some(Ok(_)) => {
                let reason = "its publication was never confirmed".to_owned();
                self.known.insert(number, Known::Unsound(reason));
            }
            Some(Err(reason)) => {
                self.known.insert(number, Known::Unsound(reason));
            }
        }
        self.in_doubt = None;
        Ok(())
    }

    /// Numbers ascend by one, so whoever publishes after us must take the number after ours. It may
    /// be retired already: then a higher one is listed.
    fn check_not_fenced(&self, listing: &[StoredFile]) -> Result<()> {
        let last = self.last_number().unwrap_or(0);
        let listed = numbers(listing).filter(|n| *n > last).max();
        for number in [listed.unwrap_or(last + 1), last + 1] {
            match read_manifest(&*self.store, number)? {
                None => {}
                Some(Ok(m)) => {
                    return Err(CheckpointError::Fenced {
                        number,
                        writer: m.writer,
                    });
                }
                Some(Err(_)) => return Err(CheckpointError::Fenced { number, writer: 0 }),
            }
        }
        Ok(())
    }

    /// Finds out which checkpoints are not there any more, or not all of them: the log must not be
    /// truncated on their word.
    fn notice_losses(&mut self, listing: &[StoredFile]) -> Result<()> {
        for (number, reason) in losses::find(&*self.store, listing, self.sound())? {
            tracing::warn!(
                number,
                reason,
                place = self.store.place(),
                "a retained checkpoint was removed by somebody else: the log is kept until new ones replace it"
            );
            self.known.insert(number, Known::Unsound(reason));
        }
        Ok(())
    }

    fn collect_garbage(&self, listing: &[StoredFile]) -> Result<()> {
        let candidates = garbage::find(listing, &self.known, self.options.ownership);
        let mut names = Vec::new();
        for candidate in candidates {
            // The listing may be older than the manifest: only the store itself knows.
            let needed = match candidate.unless_manifest {
                Some(number) => read_manifest(&*self.store, number)?.is_some(),
                None => false,
            };
            if !needed {
                names.push(candidate.name);
            }
        }
        if names.is_empty() {
            Ok(())
        } else {
            self.delete(&names)
        }
    }

    fn delete(&self, names: &[String]) -> Result<()> {
        self.store.delete(names).map_err(|e| {
            let first = names.first().map_or("", String::as_str);
            let name = format!("{first} and {} more", names.len().saturating_sub(1));
            CheckpointError::io("remove", name, e)
        })
    }
}

impl Known {
    pub(crate) fn sound(&self) -> Option<&Arc<Manifest>> {
        match self {
            Self::Sound(manifest) => Some(manifest),
            Self::Unsound(_) => None,
        }
    }
}

pub(crate) fn list(store: &dyn Store) -> Result<Vec<StoredFile>> {
    store
        .list()
        .map_err(|e| CheckpointError::io("list", store.place(), e))
}

/// The numbers of the manifests in a listing.
pub(crate) fn numbers(listing: &[StoredFile]) -> impl Iterator<Item = u64> {
    listing.iter().filter_map(|f| match Name::parse(&f.name) {
        Name::Manifest { number } => Some(number),
        _ => None,
    })
}

/// A manifest: `None` if there is none, `Some(Err)` with the finding if it is damaged.
pub(crate) fn read_manifest(
    store: &dyn Store,
    number: u64,
) -> Result<Option<Result<Manifest, String>>> {
    let name = manifest_name(number);
    let bytes = match store.get(&name, MAX_MANIFEST_BYTES) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            return Ok(Some(Err(format!("{name}: {e}"))));
        }
        Err(e) => return Err(CheckpointError::io("read", name, e)),
    };
    match Manifest::decode(number, &bytes) {
        Ok(manifest) => Ok(Some(Ok(manifest))),
        Err(e) => Ok(Some(Err(e.damage().ok_or(e)?))),
    }
}

/// Reads every listed manifest, and those behind the last one that a stale listing may lack.
fn read_known(store: &dyn Store, listing: &[StoredFile]) -> Result<BTreeMap<u64, Known>> {
    let sizes = sizes(listing);
    let mut known = BTreeMap::new();
    for number in numbers(listing) {
        if let Some(read) = read_manifest(store, number)? {
            known.insert(number, judge(read, &sizes));
        }
    }
    let mut next = known.keys().next_back().map_or(1, |n| n + 1);
    while let Some(read) = read_manifest(store, next)? {
        known.insert(
            next,
            read.map_or_else(Known::Unsound, |m| Known::Sound(Arc::new(m))),
        );
        next += 1;
    }
    Ok(known)
}

/// A first look, without reading state files: are they there, and as long as they should be?
fn judge(read: Result<Manifest, String>, sizes: &BTreeMap<&str, u64>) -> Known {
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(reason) => return Known::Unsound(reason),
    };
    match missing_file(&manifest, sizes) {
        Some(reason) => Known::Unsound(reason),
        None => Known::Sound(Arc::new(manifest)),
    }
}
