//! One state, and how long a question may wait.

use crate::ask_error::AskError;
use crate::error::{Error, Result};
use crate::queries::answer::Answer;
use crate::queries::published::{Life, Now, Pin, Published};
use crate::state::key_group::KeyGroups;
use crate::thread_role::{self, Role};
use highwater_wal::Lsn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long a question waits by default for what it asks for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a batch stays pinned at most for one question.
pub(super) const QUESTION: Duration = Duration::from_secs(60);

/// A state is asked for, as long as this is there.
#[derive(Debug)]
struct Watching {
    readers: Arc<AtomicUsize>,
    /// Whether all key groups have a history since.
    is_known: AtomicBool,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One state, and how it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(super) name: Arc<str>,
    /// Which one of the program it is.
    pub(super) index: usize,
    pub(super) groups: KeyGroups,
    pub(super) published: Arc<Published>,
    watching: Arc<Watching>,
    pub(super) timeout: Duration,
    /// Whether an answer may be of an older batch than one before the restart.
    pub(super) while_recovering: bool,
}

/// What a question waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// A batch that has the record at this position.
    Lsn(Lsn),
    /// A batch after this one.
    After(u64),
}

impl Asked {
    pub(crate) fn new(
        (name, index): (&str, usize),
        groups: KeyGroups,
        published: &Arc<Published>,
        readers: &Arc<AtomicUsize>,
    ) -> Self {
        readers.fetch_add(1, Ordering::Relaxed);
        Self {
            name: name.into(),
            index,
            groups,
            published: Arc::clone(published),
            watching: Arc::new(Watching {
                readers: Arc::clone(readers),
                is_known: AtomicBool::new(false),
            }),
            timeout: TIMEOUT,
            while_recovering: false,
        }
    }

    /// Whether every key group has a history since it is asked for.
    pub(super) fn is_known(&self) -> bool {
        self.watching.is_known.load(Ordering::Relaxed)
    }

    pub(super) fn set_known(&self) {
        self.watching.is_known.store(true, Ordering::Relaxed);
    }

    /// Whether workers run whose states may be shown; an error if none ever will.
    pub(super) fn may_look(&self, now: &Now) -> Result<bool> {
        match &now.life {
            Life::NotStarted => Err(Error::LifeCycle(
                "states can be asked for after the streaming context was started",
            )),
            Life::Stopped(None) => Err(Error::Stopped),
            Life::Stopped(Some(error)) => Err(Error::Ended(Arc::clone(error))),
            Life::Lost => Ok(false),
            Life::Running(_) => Ok(self.while_recovering || now.end.batch >= now.found),
        }
    }

    /// As of which batch an answer would be now.
    pub(super) fn as_of(&self) -> Result<Answer<()>> {
        let now = self.published.now();
        self.may_look(&now)?;
        Ok(Answer::new((), now.end, now.end.batch < now.found))
    }

    /// Whether readers see what is waited for.
    pub(super) fn has_reached(&self, now: &Now, goal: Goal) -> Result<Option<()>> {
        let reached = match goal {
            Goal::Lsn(lsn) => now.end.to > lsn,
            Goal::After(batch) => now.end.batch > batch,
        };
        Ok((self.may_look(now)? && reached).then_some(()))
    }

    /// The end of a wait that begins now.
    pub(super) fn deadline(&self) -> Duration {
        self.published.until(self.timeout)
    }

    /// Waits until readers see what is waited for.
    pub(super) fn wait_for(&self, goal: Goal) -> Result<()> {
        let look = |now: &Now| self.has_reached(now, goal).transpose();
        self.wait(self.deadline(), Some(goal), look)
    }

    /// Waits until readers may look, and see something else than `seen`.
    pub(super) fn wait_for_another(&self, seen: &Now, until: Duration) -> Result<()> {
        let groups = |now: &Now| now.life.groups().map(Arc::as_ptr);
        let other = |now: &Now| now.end.batch != seen.end.batch || groups(now) != groups(seen);
        let look = |now: &Now| match self.may_look(now) {
            Ok(may_look) => (may_look && other(now)).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        self.wait(until, None, look)
    }

    /// Pins the newest batch, when readers may look.
    pub(super) fn pin(&self, keep: Duration, until: Duration) -> Result<Pin> {
        let look = |now: &Now| match self.may_look(now) {
            Ok(may_look) => may_look.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        self.wait(until, None, look)?;
        Ok(self.published.pin(keep))
    }

    fn wait(
        &self,
        until: Duration,
        goal: Option<Goal>,
        look: impl Fn(&Now) -> Option<Result<()>>,
    ) -> Result<()> {
        outside()?;
        let found = self.published.wait(until, look);
        found.unwrap_or_else(|| Err(self.not_ready(goal)))
    }

    fn not_ready(&self, goal: Option<Goal>) -> Error {
        let now = self.published.now();
        let waits_for = match (goal, &now.life) {
            (_, Life::Lost) => "its workers are being built again".to_owned(),
            (_, Life::Running(_)) if now.end.batch < now.found && !self.while_recovering => {
                format!(
                    "the batches after the newest checkpoint are still replayed, up to batch {}",
                    now.found
                )
            }
            (Some(Goal::Lsn(lsn)), _) => format!("no batch has the record at LSN {lsn} yet"),
            (Some(Goal::After(batch)), _) => format!("batch {batch} is the newest one"),
            (None, _) => "the batch that runs must end first".to_owned(),
        };
        Error::from(AskError::NotReady {
            name: self.name.to_string(),
            waits_for,
            batch: now.end.batch,
            lsn: now.end.to,
            waited: self.timeout,
        })
    }
}

/// A thread of the context must not wait for it.
pub(super) fn outside() -> Result<()> {
    match thread_role::role() {
        Role::Batch => Err(Error::LifeCycle(
            "an operator or output cannot ask for a state: the batch that it is part of is not in it yet. Join the streams instead, or ask from another thread",
        )),
        Role::Outside | Role::Receiver => Ok(()),
    }
}
