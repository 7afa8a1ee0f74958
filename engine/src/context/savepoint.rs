//! Savepoints: copies of a checkpoint that need no file of another one, in a place of their own.

use crate::batch::work::Snapshot;
use crate::checkpointing::metadata::Metadata;
use crate::context::core::Core;
use crate::context::queue::StopMode;
use crate::context::streaming_context::StreamingContext;
use crate::error::{Error, Result};
use crate::observe::event::ContextState;
use crate::settings::BatchMode;
use crate::thread_role::{self, Role};
use highwater_checkpoint::{Checkpoint, Checkpoints, Options, Ownership, Store, open_url};
use highwater_wal::Lsn;
use std::sync::Arc;

/// A savepoint that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Savepoint {
    /// Where it is.
    pub place: String,
    /// The last batch whose effects are in it.
    pub batch: u64,
    /// Where that batch ends in the log of this context.
    pub lsn: Lsn,
    /// Length of its files, in bytes.
    pub bytes: u64,
}

impl StreamingContext {
    /// Writes a savepoint to the store at `url` (see
    /// [`Builder::checkpoint_url`](crate::Builder::checkpoint_url)), while batches go on: states,
    /// positions of sources and sequence numbers of producers, as of the end of the next batch.
    /// Records that were acknowledged and are in later batches are not in it, nor are dead letters.
    /// It needs nothing of this directory, and can be copied with any tool.
    /// [`Builder::from_savepoint`](crate::Builder::from_savepoint) starts from it.
    ///
    /// A checkpoint is taken after the next batch, as soon as no other one is being written; where
    /// batches are run by hand, a batch is cut and run for it. It is then copied. Until that is
    /// done no checkpoint is retired, and the log is not truncated.
    ///
    /// # Errors
    /// [`Error::Setting`] for a URL that cannot be used; [`Error::Savepoint`] if there are
    /// checkpoints in that place, or the checkpoint or its copy failed: what is there then is no
    /// savepoint, and batches go on. [`Error::LifeCycle`] if the context is not active, or the call
    /// comes from one of its own threads.
    ///
    /// ```
    /// # use highwater_engine::{BatchMode, StateGuard, StreamingContext};
    /// # let dir = tempfile::tempdir()?;
    /// # let elsewhere = tempfile::tempdir()?;
    /// # let url = format!("file://{}", elsewhere.path().join("before-upgrade").display());
    /// let program = |builder: highwater_engine::Builder| {
    ///     builder.batches(BatchMode::Manual).get_or_create(|ssc| {
    ///         let words = ssc.input::<String>("words").map(|word| (word, 1_u64));
    ///         words.update_state_by_key("counts", |_word, new, count: &mut StateGuard<u64>| {
    ///             *count.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
    ///         }).for_each_batch("out", |_, _| ());
    ///         Ok(())
    ///     })
    /// };
    /// let context = program(StreamingContext::builder(dir.path().join("old.d")))?;
    /// context.start()?;
    /// context.input::<String>("words")?.send_all(&["be".to_owned()])?.wait()?;
    /// let savepoint = context.savepoint(&url)?;
    /// assert_eq!(savepoint.batch, 1);
    /// let other = StreamingContext::builder(dir.path().join("new.d")).from_savepoint(&url);
    /// let copy = program(other)?;
    /// assert_eq!(copy.recovered().states[0].keys, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn savepoint(&self, url: &str) -> Result<Savepoint> {
        self.savepoint_into(store(url)?)
    }

    /// [`Self::savepoint`], into a store.
    ///
    /// # Errors
    /// Those of [`Self::savepoint`].
    pub fn savepoint_into(&self, store: Arc<dyn Store>) -> Result<Savepoint> {
        let core = self.core();
        if thread_role::role() != Role::Outside {
            return Err(Error::LifeCycle(
                "a savepoint waits for a batch, so none of the context's own threads can take one",
            ));
        }
        if core.status.state() != ContextState::Active {
            return Err(Error::LifeCycle(
                "a savepoint is taken after a batch, so the context must be active; `stop_with_savepoint` also copies the last one of a context that has stopped",
            ));
        }
        let mut target = open(store)?;
        let retained = &core.replayer.retained;
        let _hold = retained.hold();
        let attempt = match core.settings.mode {
            BatchMode::Manual => {
                core.run_manually(Snapshot::Take)?;
                core.checkpoints.ended_attempts().all
            }
            BatchMode::Clock => core.checkpoints.await_requested()?,
        };
        if core.checkpoints.ended_attempts().published < attempt {
            let why = core.checkpoints.stats().last_error;
            return Err(Error::Savepoint(format!(
                "the checkpoint that it was to be a copy of failed: {}",
                why.unwrap_or_else(|| "the context has stopped".to_owned())
            )));
        }
        let newest = retained.newest();
        let newest = newest.ok_or_else(|| Error::Savepoint("there is no checkpoint".to_owned()))?;
        copy(core, &newest, &mut target)
    }

    /// Stops the context gracefully, and copies the final checkpoint to the store at `url`: see
    /// [`Self::savepoint`]. Nothing comes after it, so outputs of a program that starts from it go
    /// on where those of this one have ended. This directory can be started again; what it then
    /// writes to the same outputs is refused.
    ///
    /// # Errors
    /// Those of [`Self::savepoint`], before anything is stopped, if it cannot be written there;
    /// those of [`Self::stop`]. If the copy fails the context has stopped; calling this again
    /// copies again.
    pub fn stop_with_savepoint(&self, url: &str) -> Result<Savepoint> {
        self.stop_with_savepoint_into(store(url)?)
    }

    /// [`Self::stop_with_savepoint`], into a store.
    ///
    /// # Errors
    /// Those of [`Self::stop_with_savepoint`].
    pub fn stop_with_savepoint_into(&self, store: Arc<dyn Store>) -> Result<Savepoint> {
        if thread_role::role() != Role::Outside {
            return Err(Error::LifeCycle(
                "the savepoint is taken after the context has stopped, so none of its own threads can ask for it",
            ));
        }
        let mut target = open(store)?;
        self.stop(StopMode::Graceful)?;
        let core = self.core();
        let newest = core.replayer.retained.newest();
        let newest = newest.filter(|newest| metadata(newest).is_ok_and(|m| m.stopped));
        let newest = newest.ok_or_else(|| {
            Error::Savepoint(
                "the context was stopped without a final checkpoint: start it again, and stop it with a savepoint".to_owned(),
            )
        })?;
        copy(core, &newest, &mut target)
    }
}

fn store(url: &str) -> Result<Arc<dyn Store>> {
    open_url(url).map_err(|error| Error::Setting(format!("savepoint: {error}")))
}

/// A place for a savepoint, in which there is none.
fn open(store: Arc<dyn Store>) -> Result<Checkpoints> {
    let place = store.place();
    let options = Options {
        ownership: Ownership::Shared,
        ..Options::default()
    };
    let target = Checkpoints::open(store, options)?;
    match target.is_empty() {
        true => Ok(target),
        false => Err(Error::Savepoint(format!(
            "there are checkpoints in {place}: give each savepoint a place of its own"
        ))),
    }
}

fn metadata(checkpoint: &Checkpoint) -> Result<Metadata> {
    let metadata = checkpoint.manifest().metadata.clone();
    serde_json::from_value(metadata).map_err(|error| Error::Savepoint(error.to_string()))
}

fn copy(core: &Core, checkpoint: &Checkpoint, target: &mut Checkpoints) -> Result<Savepoint> {
    let mut meta = checkpoint.meta();
    meta.created_ms = core.settings.clock.wall_ms();
    let published = checkpoint.copy_into(target, meta)?;
    Ok(Savepoint {
        place: target.place(),
        batch: checkpoint.manifest().batch.id,
        lsn: Lsn::new(published.lsn),
        bytes: published.bytes,
    })
}
