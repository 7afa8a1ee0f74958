//! A replay in a directory of its own, without outputs, up to a checkpoint that is compared.

use crate::batch::work::Snapshot;
use crate::checkpointing::policy::CheckpointPolicy;
use crate::context::core::Core;
use crate::context::launch;
use crate::engine_log::cut::Cut;
use crate::error::{Error, Result};
use crate::plan::program::Plan;
use crate::recovery::beside::{Beside, ReplayFrom};
use crate::recovery::report::RecoveryReport;
use crate::settings::{BatchMode, Settings};
use crate::thread_role::{Role, RoleGuard};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What [`Builder::replay_beside`](crate::Builder::replay_beside) did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Replayed {
    /// The checkpoint that the replay began with, and the last batch in it; `None` for the
    /// beginning of the log.
    pub from: Option<(u64, u64)>,
    /// How many batches were run.
    pub batches: u64,
    /// The newest checkpoint of the directory, of which a copy is in `before`, and the last batch
    /// in it.
    pub before: (u64, u64),
    /// The new checkpoint, which is in `checkpoints`, and the last batch in it: the same one.
    pub after: (u64, u64),
    /// What the program made of the checkpoint that the replay began with.
    pub recovery: RecoveryReport,
}

/// Replays what the directory of the settings has of its past in `into`.
pub(in crate::context) fn replay_beside(
    settings: Settings,
    plan: Plan,
    into: &Path,
    from: &ReplayFrom,
) -> Result<Replayed> {
    let beside = Beside::copy(&settings, into, from)?;
    let core = Core::open(settings.beside(&beside), plan)?;
    core.activate()?;
    let ran = run(&core, beside.until.1);
    core.quiesce();
    let closed = core.wal.close().map_err(Error::from);
    core.stopped(None);
    let batches = ran?;
    closed?;
    Ok(Replayed {
        from: beside.from,
        batches,
        before: beside.until,
        after: published(&core, beside.until.1)?,
        recovery: core.report.clone(),
    })
}

/// Runs the batches up to `until`, after which a checkpoint is taken. How many there were.
fn run(core: &Core, until: u64) -> Result<u64> {
    let (mut driver, cuts) = launch::muted_driver(core, until)?;
    let _role = RoleGuard::enter(Role::Batch);
    let batches = cuts.iter().flat_map(Cut::batches);
    let mut count = 0;
    for timed in batches.take_while(|timed| timed.batch.id <= until) {
        let snapshot = match timed.batch.id == until {
            true => Snapshot::Take,
            false => Snapshot::Skip,
        };
        core.run(&mut driver, timed, snapshot)?;
        count += 1;
    }
    driver.checkpointer.finish();
    Ok(count)
}

/// The new checkpoint, which must be that of batch `until`.
fn published(core: &Core, until: u64) -> Result<(u64, u64)> {
    if let Some(error) = core.checkpoints.take_error() {
        return Err(error);
    }
    let newest = core.checkpoints.stats().newest;
    let newest = newest.filter(|(_, batch, _)| *batch == until);
    newest
        .map(|(number, batch, _)| (number, batch))
        .ok_or_else(|| {
            Error::Replay(format!(
                "the log has no cut of batch {until}, after which the newest checkpoint was taken"
            ))
        })
}

impl Settings {
    /// Those of a replay: in its own directory, by hand, without outputs and listeners. Only the
    /// last checkpoint is asked for.
    fn beside(mut self, beside: &Beside) -> Self {
        self.dir.clone_from(&beside.dir);
        self.checkpoint_store = None;
        self.accepted_loss = None;
        self.savepoint = None;
        self.muted = true;
        self.mode = BatchMode::Manual;
        self.policy = CheckpointPolicy::every_batches(u64::MAX);
        self.listeners.clear();
        self
    }
}
