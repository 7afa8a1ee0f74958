//! Opens the log and the checkpoints of a directory. One that has no log may begin with a
//! checkpoint of another one.

use crate::engine_log::log_view::LogView;
use crate::error::Result;
use crate::recovery::origin::{Origin, is_only_begun};
use crate::settings::{Settings, StateCodec};
use highwater_checkpoint::{Checkpoint, Checkpoints, Layout, LogBounds, Options, Ownership};
use highwater_wal::{Case, Lsn, Wal};
use std::sync::Arc;

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
        let log_ids = checkpoints.manifests().map(|manifest| manifest.log_id);
        let origin = match is_only_begun(LogView::Open(&wal), wal.log_id(), log_ids)? {
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
        layout: match settings.state_codec {
            StateCodec::Named => Layout::Rows,
            StateCodec::Compact => Layout::Columns,
        },
        ..by_chance
    }
}
