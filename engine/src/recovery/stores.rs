//! Opens the log and the checkpoints of a directory. One that has no log may begin with a
//! checkpoint of another one.

use crate::error::Result;
use crate::recovery::origin::{Origin, first_cut};
use crate::settings::Settings;
use highwater_checkpoint::{Checkpoint, Checkpoints, LogBounds, Options, Ownership};
use highwater_wal::{Case, Lsn, Wal};
use std::sync::Arc;

/// Below this length a log may be one that was begun and not finished, in bytes.
const BEGINNING: u64 = 64 << 10;

/// The log of a directory, its checkpoints, and the newest of them.
pub(super) struct Stores {
    pub(super) wal: Arc<Wal>,
    pub(super) checkpoints: Checkpoints,
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Stores {
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        let log = settings.dir.join("log");
        let options = log_options(settings);
        let origin = match Wal::exists(&log, &options)? {
            true => None,
            false => Origin::find(settings)?,
        };
        let begins = origin.as_ref().map_or(Lsn::ZERO, Origin::lsn);
        let wal = Wal::open_with(log, options.start_at(begins))?;
        // The lock of the log is held from here on.
        let mut checkpoints = Checkpoints::open(
            settings.own_checkpoint_store(),
            checkpoint_options(settings),
        )?;
        let origin = match is_begun(&wal, &checkpoints)? {
            true if wal.recovery().case == Case::Created => origin,
            true => Origin::find(settings)?,
            false => None,
        };
        if let Some(origin) = origin {
            origin.begin(settings, &wal, &mut checkpoints)?;
        }
        let checkpoint = checkpoints.newest_for(&LogBounds {
            log_id: wal.log_id(),
            first_lsn: wal.first_lsn().get(),
            end_lsn: wal.durable_lsn().get(),
        })?;
        Ok(Self {
            wal: Arc::new(wal),
            checkpoints,
            checkpoint,
        })
    }
}

/// Whether the log has nothing that a run of a program writes, and no checkpoint.
fn is_begun(wal: &Wal, checkpoints: &Checkpoints) -> Result<bool> {
    if wal.end_lsn().bytes_since(wal.first_lsn()) > BEGINNING {
        return Ok(false);
    }
    let mut known = checkpoints.manifests();
    if known.any(|manifest| manifest.log_id == wal.log_id()) {
        return Ok(false);
    }
    Ok(first_cut(wal)?.is_unfinished())
}

fn log_options(settings: &Settings) -> highwater_wal::Options {
    let options = settings
        .log
        .clone()
        .disk(Arc::clone(&settings.disk))
        .clock(Arc::clone(&settings.clock));
    match settings.seed {
        Some(seed) => options.log_id_seed(seed),
        None => options,
    }
}

fn checkpoint_options(settings: &Settings) -> Options {
    let by_chance = Options::default();
    Options {
        retain: settings.retain,
        ownership: match &settings.checkpoint_store {
            // The lock of the log is held, so no other process writes checkpoints of this
            // directory.
            None => Ownership::Sole,
            // A store elsewhere does not know that lock.
            Some(_) => Ownership::Shared,
        },
        writer: settings.seed.unwrap_or(by_chance.writer),
        ..by_chance
    }
}
