//! What a start would find and restore, without one.

use crate::engine_log::log_view::LogView;
use crate::error::Result;
use crate::plan::program::Plan;
use crate::recovery::compared::report;
use crate::recovery::found::Found;
use crate::recovery::origin::{Origin, newest};
use crate::recovery::report::RecoveryReport;
use crate::settings::Settings;
use highwater_checkpoint::{Checkpoint, LogBounds};
use highwater_wal::inspect::Log;
use highwater_wal::{Lsn, Wal};
use std::sync::Arc;

/// Reads what is in the directory, and checks the program against it. Nothing is written, and no
/// lock is taken: another process may have the directory open.
pub(crate) fn dry_run(settings: &Settings, plan: &Plan) -> Result<RecoveryReport> {
    let began = settings.clock.now();
    let dir = settings.dir.join("log");
    let options = settings.log.clone().disk(Arc::clone(&settings.disk));
    let (found, checkpoint) = match Wal::exists(&dir, &options)? {
        true => {
            let log = Log::open(Arc::clone(&settings.disk), &dir)?;
            with_log(settings, plan, &log)?
        }
        false => match Origin::find(settings)? {
            Some(origin) => {
                let log = LogView::None(origin.lsn());
                let at = origin.at();
                let found = Found::read(settings, plan, log, Some(origin.checkpoint()), Some(at))?;
                (found, Some(origin.checkpoint().clone()))
            }
            None => {
                let log = LogView::None(Lsn::ZERO);
                (Found::read(settings, plan, log, None, None)?, None)
            }
        },
    };
    Ok(RecoveryReport {
        loaded_in: settings.clock.now().saturating_sub(began),
        ..report(settings, plan, &found, checkpoint.as_ref())
    })
}

fn with_log(settings: &Settings, plan: &Plan, log: &Log) -> Result<(Found, Option<Checkpoint>)> {
    let view = LogView::Looked(log);
    let checkpoint = newest(&settings.own_checkpoint_store())?;
    if let Some(checkpoint) = &checkpoint {
        checkpoint.check_log(&LogBounds {
            log_id: log.log_id(),
            first_lsn: log.first_lsn().get(),
            end_lsn: view.end_lsn()?.get(),
        })?;
    }
    let found = Found::read(settings, plan, view, checkpoint.as_ref(), None)?;
    Ok((found, checkpoint))
}
