//! A directory whose log begins with a checkpoint of another log: that of a savepoint, or of a log
//! that is gone.
//!
//! | step | durable afterwards |
//! |---|---|
//! | a log is made that begins at or above the checkpoint's LSN | an empty log |
//! | the cut of the checkpoint's batch is its first record | that, and where it is |
//! | the checkpoint is written anew, for this log and at this LSN | a directory like any other |
//!
//! A crash before the last step leaves a log without records and without checkpoints: the next
//! start begins again. No record is taken in before. LSNs go on above those of the other log, so
//! what producers were told of their records never lies above the end of this one.

use crate::batch::Batch;
use crate::batch::tick::{Tick, Timed};
use crate::checkpointing::metadata::{Metadata, Part};
use crate::engine_log::cut::CutRecord;
use crate::engine_log::entry::{self, ENGINE, Entry};
use crate::engine_log::log_view::LogView;
use crate::error::{Error, Result};
use crate::mismatch::{LogGone, Mismatch};
use crate::recovery::metadata::read_metadata;
use crate::settings::Settings;
use highwater_checkpoint::{
    Checkpoint, CheckpointError, Checkpoints, LocalStore, Skipped, Store, Validity,
};
use highwater_wal::{FrameKind, Lsn, Wal};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Below this length a log may be one that was begun and not finished, in bytes.
const BEGINNING: u64 = 64 << 10;

/// The checkpoint that a log begins with.
#[derive(Debug)]
pub(crate) struct Origin {
    checkpoint: Checkpoint,
    metadata: Metadata,
    part: Part,
    /// Whether its log is gone, and this one takes its place in the same store.
    is_loss: bool,
}

impl Origin {
    /// What a directory without a log begins with; `None` if that is nothing.
    ///
    /// # Errors
    /// [`Mismatch::LogGone`] if there are checkpoints of a log that is gone, unless the program
    /// accepts that.
    pub(super) fn find(settings: &Settings) -> Result<Option<Self>> {
        let own = settings.own_checkpoint_store();
        if let Some(checkpoint) = newest(&own)? {
            let metadata = read_metadata(settings, &checkpoint)?;
            if settings.accepted_loss != Some(checkpoint.number()) {
                return Err(log_gone(settings, &own, &checkpoint, &metadata).into());
            }
            return Self::new(settings, checkpoint, metadata, true).map(Some);
        }
        let Some(savepoint) = &settings.savepoint else {
            return Ok(None);
        };
        let Some(checkpoint) = newest(savepoint)? else {
            return Err(Error::Setting(format!(
                "from_savepoint: there is no savepoint in {}",
                savepoint.place()
            )));
        };
        let metadata = read_metadata(settings, &checkpoint)?;
        Self::new(settings, checkpoint, metadata, false).map(Some)
    }

    fn new(
        settings: &Settings,
        checkpoint: Checkpoint,
        metadata: Metadata,
        is_loss: bool,
    ) -> Result<Self> {
        // Before anything is made: what would be refused after it.
        let program = &metadata.program;
        if program.application != settings.application {
            let on_disk = program.application.clone();
            let in_code = settings.application.clone();
            return Err(Mismatch::OtherApplication { on_disk, in_code }.into());
        }
        if program.key_groups != settings.key_groups {
            let (on_disk, in_code) = (program.key_groups, settings.key_groups);
            return Err(Mismatch::KeyGroups { on_disk, in_code }.into());
        }
        let (Some(part), Some(_)) = (metadata.part, metadata.zero_ms) else {
            let checkpoint = checkpoint.number();
            return Err(Mismatch::NeedsItsLog { checkpoint }.into());
        };
        Ok(Self {
            checkpoint,
            metadata,
            part,
            is_loss,
        })
    }

    /// What goes on from it.
    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Its batch, as a log that begins with it has it.
    pub(super) fn at(&self) -> Timed {
        let batch = self.checkpoint.manifest().batch;
        Timed {
            batch: Batch {
                id: batch.id,
                time_ms: batch.time_ms,
                from: self.lsn(),
                to: self.lsn(),
            },
            tick: Tick {
                time_ms: batch.time_ms,
                interval_ms: self.metadata.batch_interval_ms,
                zero_ms: self.metadata.zero_ms.unwrap_or_default(),
                part: self.part.number,
                is_last_part: self.part.is_last,
            },
        }
    }

    /// The log begins here, or later.
    pub(super) fn lsn(&self) -> Lsn {
        Lsn::new(self.checkpoint.lsn())
    }

    /// Refuses a log in `dir` that ends too low: its records would come below what the checkpoint
    /// has.
    pub(super) fn check_room(&self, dir: &Path, end: Lsn) -> Result<()> {
        if end >= self.lsn() {
            return Ok(());
        }
        Err(Mismatch::EmptyLog {
            dir: dir.display().to_string(),
            end: end.get(),
            lsn: self.lsn().get(),
        }
        .into())
    }

    /// Makes `wal`, which has no record but perhaps what a crash in here has left, a log that goes
    /// on from the checkpoint.
    pub(super) fn begin(
        self,
        settings: &Settings,
        wal: &Wal,
        checkpoints: &mut Checkpoints,
    ) -> Result<()> {
        let from = self.checkpoint.manifest().log_id;
        self.check_room(wal.dir(), wal.end_lsn())?;
        let lsn = match first_cut(LogView::Open(wal))? {
            Beginning::Nothing => {
                let lsn = entry::append(wal, &Entry::Cut(self.cut(wal.end_lsn())))?;
                wal.sync_to(lsn)?;
                lsn
            }
            Beginning::Cut(lsn, record) if record == self.cut(record.from) => lsn,
            Beginning::Cut(..) | Beginning::Records => {
                let log = wal.log_id();
                let number = self.checkpoint.number();
                return Err(CheckpointError::OtherLog {
                    number,
                    checkpoint_log: from,
                    log,
                }
                .into());
            }
        };
        let mut metadata = self.metadata;
        let continues = self.is_loss || metadata.stopped;
        if continues {
            metadata.predecessors.push(format!("{from:032x}"));
        }
        metadata.incomplete = Default::default();
        metadata.stopped = false;
        let mut meta = self.checkpoint.meta();
        meta.log_id = wal.log_id();
        meta.lsn = lsn.get();
        meta.created_ms = settings.clock.wall_ms();
        meta.metadata = serde_json::to_value(metadata).expect("metadata is plain data");
        if self.is_loss {
            checkpoints.replace_log(from);
        }
        let published = self.checkpoint.copy_into(checkpoints, meta)?;
        tracing::warn!(
            batch = self.checkpoint.manifest().batch.id,
            from = format!("{from:032x}"),
            checkpoint = published.number,
            log_is_gone = self.is_loss,
            "this directory goes on from a checkpoint of another log"
        );
        Ok(())
    }

    /// The cut of its batch, as the first record of a log.
    fn cut(&self, from: Lsn) -> CutRecord {
        let batch = self.checkpoint.manifest().batch;
        CutRecord {
            batch: batch.id,
            tick_ms: batch.time_ms,
            interval_ms: self.metadata.batch_interval_ms,
            zero_ms: self.metadata.zero_ms.unwrap_or_default(),
            wall_ms: batch.time_ms,
            part: self.part.number,
            more_parts: !self.part.is_last,
            restarted: true,
            from,
            to: None,
            empty: Vec::new(),
            sources: Vec::new(),
        }
    }
}

/// What a log begins with.
#[derive(Debug)]
enum Beginning {
    Nothing,
    /// A cut, and nothing else.
    Cut(Lsn, CutRecord),
    Records,
}

/// Whether a log has nothing that a run of a program writes, and no checkpoint is of it: `log_ids`
/// are those of the checkpoints. A start goes on as if there were no log.
pub(super) fn is_only_begun(
    log: LogView<'_>,
    id: u128,
    mut log_ids: impl Iterator<Item = u128>,
) -> Result<bool> {
    if log.end_lsn()?.bytes_since(log.first_lsn()) > BEGINNING || log_ids.any(|of| of == id) {
        return Ok(false);
    }
    Ok(!matches!(first_cut(log)?, Beginning::Records))
}

fn first_cut(log: LogView<'_>) -> Result<Beginning> {
    let mut found = Beginning::Nothing;
    log.each(log.first_lsn(), |frame| {
        let cut = match (&found, frame.kind, frame.stream) {
            (Beginning::Nothing, FrameKind::Control, ENGINE) => entry::decode(frame.payload()).ok(),
            _ => None,
        };
        found = match cut {
            Some((_, Entry::Cut(record))) => Beginning::Cut(frame.lsn, record),
            _ => Beginning::Records,
        };
        Ok(())
    })?;
    Ok(found)
}

/// The newest valid checkpoint of a store, which is not changed. `None` if there are none.
///
/// # Errors
/// [`CheckpointError::NoneValid`] if there are some, and none can be used.
pub(super) fn newest(store: &Arc<dyn Store>) -> Result<Option<Checkpoint>> {
    let found = match Checkpoints::inspect(store) {
        Err(CheckpointError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(None);
        }
        found => found?,
    };
    let mut skipped = Vec::new();
    for checkpoint in found {
        match (checkpoint.validity, checkpoint.manifest) {
            (Validity::Valid, Some(manifest)) => {
                return Ok(Some(Checkpoint::of_manifest(Arc::clone(store), manifest)));
            }
            (Validity::NewerFormat(what), _) => {
                let file = format!("checkpoint {}", checkpoint.number);
                return Err(CheckpointError::NewerFormat { file, what }.into());
            }
            (Validity::Damaged(reason), _) => {
                let number = checkpoint.number;
                tracing::warn!(
                    number,
                    %reason,
                    "checkpoint not usable, trying the one before"
                );
                skipped.push(Skipped { number, reason });
            }
            (Validity::Valid, None) => {}
        }
    }
    if skipped.is_empty() {
        return Ok(None);
    }
    let place = store.place();
    Err(CheckpointError::NoneValid { place, skipped }.into())
}

fn log_gone(
    settings: &Settings,
    store: &Arc<dyn Store>,
    checkpoint: &Checkpoint,
    metadata: &Metadata,
) -> Mismatch {
    let manifest = checkpoint.manifest();
    Mismatch::LogGone(Box::new(LogGone {
        dir: settings.dir.join("log").display().to_string(),
        store: store.place(),
        checkpoint: manifest.number,
        batch: manifest.batch.id,
        lsn: manifest.lsn,
        log_id: manifest.log_id,
        incomplete: metadata.incomplete.to_string(),
    }))
}

impl Settings {
    /// Where checkpoints of this directory are kept.
    pub(super) fn own_checkpoint_store(&self) -> Arc<dyn Store> {
        match &self.checkpoint_store {
            Some(store) => Arc::clone(store),
            None => Arc::new(LocalStore::new(
                Arc::clone(&self.disk),
                self.dir.join("checkpoints"),
            )),
        }
    }
}
