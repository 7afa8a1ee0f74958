//! What a start would find and restore, without one.

use crate::engine_log::log_view::LogView;
use crate::error::Result;
use crate::plan::program::Plan;
use crate::recovery::compared::report;
use crate::recovery::found::Found;
use crate::recovery::origin::{Origin, is_only_begun, newest};
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
        true => with_log(
            settings,
            plan,
            &Log::open(Arc::clone(&settings.disk), &dir)?,
        )?,
        false => without_log(settings, plan, Origin::find(settings)?.as_ref())?,
    };
    Ok(RecoveryReport {
        loaded_in: settings.clock.now().saturating_sub(began),
        ..report(settings, plan, &found, checkpoint.as_ref())
    })
}

fn with_log(settings: &Settings, plan: &Plan, log: &Log) -> Result<(Found, Option<Checkpoint>)> {
    let view = LogView::Looked(log);
    let checkpoint = newest(&settings.own_checkpoint_store())?;
    let log_ids = checkpoint.iter().map(|found| found.manifest().log_id);
    if is_only_begun(view, log.log_id(), log_ids)? {
        let origin = Origin::find(settings)?;
        if let Some(origin) = &origin {
            origin.check_room(&settings.dir.join("log"), view.end_lsn()?)?;
            return without_log(settings, plan, Some(origin));
        }
    }
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

/// What a log would begin with.
fn without_log(
    settings: &Settings,
    plan: &Plan,
    origin: Option<&Origin>,
) -> Result<(Found, Option<Checkpoint>)> {
    let Some(origin) = origin else {
        let found = Found::read(settings, plan, LogView::None(Lsn::ZERO), None, None)?;
        return Ok((found, None));
    };
    let (log, checkpoint) = (LogView::None(origin.lsn()), origin.checkpoint());
    let found = Found::read(settings, plan, log, Some(checkpoint), Some(origin.at()))?;
    Ok((found, Some(checkpoint.clone())))
}
