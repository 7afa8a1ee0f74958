//! The checkpoints of one store, and the one process that may add to them.

use crate::catalog::{Catalog, Known};
use crate::checkpoint::{Checkpoint, LogBounds};
use crate::error::{CheckpointError, Result, Skipped};
use crate::inspect::{self, Inspected};
use crate::manifest::document::Manifest;
use crate::manifest::read::list;
use crate::options::Options;
use crate::retention::garbage;
use crate::retention::retire::{self, Retired};
use crate::store::Store;
use crate::store::names::{MAX_NUMBER, Name};
use crate::writing::meta::Meta;
use crate::writing::writer::CheckpointWriter;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The checkpoints of a store, opened for writing. One per store and process; it can be moved to
/// another thread.
#[derive(Debug)]
pub struct Checkpoints {
    catalog: Catalog,
    options: Options,
    generation: u64,
    /// Attempts whose state files were found at open: never used again.
    seen_attempts: BTreeSet<u64>,
    attempts: u64,
    /// The log whose place that of the next checkpoint takes.
    replaced_log: Option<u128>,
}

impl Checkpoints {
    /// Opens the store for writing: reads every manifest and removes what crashed attempts have
    /// left. [`Self::newest`] reads the state files.
    ///
    /// # Errors
    /// [`CheckpointError::NewerFormat`] if any checkpoint is a newer version's (nothing is
    /// changed); [`CheckpointError::Io`].
    pub fn open(store: Arc<dyn Store>, options: Options) -> Result<Self> {
        store
            .prepare()
            .map_err(|e| CheckpointError::io("prepare", store.place(), e))?;
        let listing = list(&*store)?;
        let seen_attempts = listing.iter().filter_map(|f| match Name::parse(&f.name) {
            Name::State(state) => Some(state.attempt),
            _ => None,
        });
        let catalog = Catalog::read(store, &listing)?;
        let generations = catalog.usable().map(|m| m.generation);
        let this = Self {
            generation: generations.max().unwrap_or(0).saturating_add(1),
            seen_attempts: seen_attempts.collect(),
            catalog,
            options,
            attempts: 0,
            replaced_log: None,
        };
        garbage::collect(&this.catalog, &listing, this.options.ownership)?;
        Ok(this)
    }

    /// Looks at every checkpoint of a store, newest first, and reads all files. Never writes.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]. Damage is no error here: it is reported.
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
        let numbers: Vec<u64> = self.catalog.by_number().keys().rev().copied().collect();
        for number in numbers {
            let reason = match self.catalog.by_number().get(&number) {
                Some(Known::Unusable(reason)) => reason.clone(),
                Some(Known::Usable(manifest)) => {
                    let store = Arc::clone(self.catalog.store());
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
                "checkpoint not usable, trying the one before"
            );
            self.catalog.mark_unusable(number, reason.clone());
            skipped.push(Skipped { number, reason });
        }
        if skipped.is_empty() {
            return Ok(None);
        }
        Err(CheckpointError::NoneValid {
            place: self.catalog.store().place(),
            skipped,
        })
    }

    /// [`Self::newest`], if it belongs to the log: recovery calls this. An older checkpoint is as
    /// good as the newest if the log still reaches back to it.
    ///
    /// # Errors
    /// Those of [`Self::newest`] and [`Checkpoint::check_log`].
    pub fn newest_for(&mut self, log: &LogBounds) -> Result<Option<Checkpoint>> {
        let newest = self.newest()?;
        newest.map(|c| c.check_log(log).map(|()| c)).transpose()
    }

    /// Begins a checkpoint. Nothing of it is visible until [`CheckpointWriter::publish`].
    ///
    /// # Errors
    /// [`CheckpointError::Misuse`] if `meta` is not consistent; [`CheckpointError::CannotContinue`]
    /// if its parent is not there any more, or of format 1; [`CheckpointError::OtherLog`] if the
    /// checkpoints here are another log's (see [`Self::replace_log`]); [`CheckpointError::Fenced`];
    /// [`CheckpointError::Io`].
    pub fn begin(&mut self, meta: Meta) -> Result<CheckpointWriter<'_>> {
        let store = self.catalog.store();
        store
            .remake()
            .map_err(|e| CheckpointError::io("make again", store.place(), e))?;
        self.catalog.resolve_doubt(self.options.writer)?;
        let number = self.catalog.last_number().map_or(1, |n| n + 1);
        let misuse = |what: String| Err(CheckpointError::Misuse { number, what });
        if number > MAX_NUMBER {
            return misuse(format!("{MAX_NUMBER} is the last number there is"));
        }
        if let Some(newest) = self.catalog.usable().next_back() {
            if newest.log_id != meta.log_id && self.replaced_log != Some(newest.log_id) {
                return Err(CheckpointError::OtherLog {
                    number: newest.number,
                    checkpoint_log: newest.log_id,
                    log: meta.log_id,
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
        let (options, generation) = (&self.options, self.generation);
        let name = (number, attempt);
        CheckpointWriter::new(&mut self.catalog, options, generation, name, meta)
    }

    /// From now on checkpoints of another log than `lost` may be added here, whose LSNs come after
    /// those of the newest checkpoint: it takes the place of `lost`, which is gone. Its first
    /// checkpoint must have everything, and those of `lost` are retired like any others.
    pub fn replace_log(&mut self, lost: u128) {
        self.replaced_log = Some(lost);
    }

    /// The place of the store, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.catalog.store().place()
    }

    /// Whether there is no checkpoint here, usable or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.catalog.by_number().is_empty()
    }

    /// Whether a checkpoint can name `parent` as what it continues: [`Self::begin`] would accept
    /// it, as far as that is known without reading its files.
    #[must_use]
    pub fn can_continue(&self, parent: u64) -> bool {
        self.catalog.can_continue(parent)
    }

    /// Removes checkpoints older than the newest `retain` valid ones, and leftovers. Manifests go
    /// first, so that a checkpoint is never visible without its files. Call it after each
    /// publication; after an error, call it after the next.
    ///
    /// A checkpoint counts only as long as its files are in the store. If another program has
    /// removed some, that is logged as a warning, and the checkpoint counts no more. Until enough
    /// new ones are published the log may not be truncated.
    ///
    /// # Errors
    /// [`CheckpointError::Fenced`] if another writer has taken over: nothing was removed, and the
    /// log must not be truncated; [`CheckpointError::Io`].
    pub fn retire(&mut self) -> Result<Retired> {
        retire::retire(&mut self.catalog, &self.options)
    }

    /// The log may be truncated below this LSN and not further: some checkpoint of the store needs
    /// the rest. `None` while there are fewer valid checkpoints than [`Options::retain`] asks for.
    /// Then the beginning of the log replaces the missing one, and nothing may be truncated.
    #[must_use]
    pub fn oldest_needed_lsn(&self) -> Option<u64> {
        retire::oldest_needed_lsn(&self.catalog, &self.options)
    }

    /// The checkpoints of the store that are not known to be damaged, ascending by number. Those of
    /// a log that was replaced are not among them. Nothing but the manifest was checked; every
    /// block is, when it is read.
    pub fn all(&self) -> impl Iterator<Item = Checkpoint> {
        let store = self.catalog.store();
        let log_id = self.catalog.usable().next_back().map(|m| m.log_id);
        let usable = self
            .catalog
            .usable()
            .filter(move |m| Some(m.log_id) == log_id);
        usable.map(|m| Checkpoint::new(Arc::clone(store), Arc::clone(m), Vec::new()))
    }

    /// The manifests of the store that are not known to be damaged, ascending by number.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.catalog.usable().map(|m| &**m)
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
}
