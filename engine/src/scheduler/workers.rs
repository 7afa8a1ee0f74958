//! The workers of the driver, which are built again when they are lost.

use crate::batch::chunk::Chunk;
use crate::batch::work::Work;
use crate::checkpointing::capture::{CaptureSink, Whole};
use crate::error::{Error, Result};
use crate::exec::completed::Completed;
use crate::exec::executor::Executor;
use crate::observe::states::KeyCounts;
use crate::panics;
use crate::plan::batch_scope::BatchScope;
use crate::queries::published::Published;
use crate::scheduler::ending::Ending;
use crate::scheduler::rebuild::{Rebuild, Rebuilt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The workers of the driver.
#[derive(Debug)]
pub(crate) struct Workers {
    executor: Option<Executor>,
    /// Why they were lost, if they were.
    lost: String,
    rebuild: Arc<dyn Rebuild>,
    ending: Arc<Ending>,
    /// For readers of the states.
    published: Arc<Published>,
    /// Whether they were built again, and the driver does not know it yet.
    rebuilt: bool,
    /// What a rebuild has found of the numbers of keys, for the driver.
    keys: BTreeMap<(usize, usize), KeyCounts>,
}

impl Workers {
    pub(crate) fn new(
        mut executor: Executor,
        rebuild: Arc<dyn Rebuild>,
        ending: Arc<Ending>,
        published: Arc<Published>,
    ) -> Self {
        published.workers(executor.take_shared());
        Self {
            published,
            executor: Some(executor),
            lost: String::new(),
            rebuild,
            ending,
            rebuilt: false,
            keys: BTreeMap::new(),
        }
    }

    /// What the workers hold cannot be relied on, or they are gone: they end, and are built again
    /// before the next batch. There are never two copies of the state.
    pub(crate) fn lose(&mut self, why: &Error) {
        if let Some(executor) = self.executor.take() {
            self.published.lost();
            dropped(executor);
            self.lost = why.to_string();
        }
    }

    /// Has the workers begin a batch.
    ///
    /// # Errors
    /// A worker has ended, or the workers could not be built again: see [`Self::lose`].
    pub(crate) fn begin(
        &mut self,
        work: Work,
        input: Vec<Chunk>,
        scope: &BatchScope,
    ) -> Result<()> {
        let executor = match self.executor.take() {
            Some(executor) => executor,
            None => {
                let cut_short = || self.ending.is_at_once();
                let rebuilt = self.rebuild.rebuild(work.batch.id, &cut_short);
                let Rebuilt { mut executor, keys } = rebuilt.map_err(|error| match error {
                    of_batch @ Error::Batch(_) => of_batch, // a replayed one: it says enough
                    error => cannot_rebuild(work.batch.id, &error, &self.lost),
                })?;
                (self.keys, self.rebuilt) = (keys, true);
                self.published.workers(executor.take_shared());
                executor
            }
        };
        self.executor.insert(executor).begin(work, input, scope)
    }

    /// Waits until the workers are done with the batch that was begun.
    ///
    /// # Errors
    /// A worker has ended.
    pub(crate) fn complete(&self) -> Result<Completed> {
        self.running()?.complete()
    }

    fn running(&self) -> Result<&Executor> {
        let executor = self.executor.as_ref();
        executor.ok_or_else(|| Error::Worker("no batch was begun".to_owned()))
    }

    /// Has the workers copy the state after `batch`, which was kept, for a checkpoint. How many
    /// workers there are.
    ///
    /// # Errors
    /// A worker has ended.
    pub(crate) fn capture(&self, batch: u64, whole: &Whole, sink: &CaptureSink) -> Result<usize> {
        let executor = self.running()?;
        executor.capture(batch, whole, sink)?;
        Ok(executor.workers())
    }

    /// Whether the workers were built again since the last call, so that they do not know what has
    /// changed since the newest checkpoint.
    pub(crate) fn take_rebuilt(&mut self) -> bool {
        std::mem::take(&mut self.rebuilt)
    }

    /// The batch that is complete has not failed: what it has changed stays. Returns what the
    /// workers report of the numbers of keys beside what the batch did.
    pub(crate) fn keep(&mut self) -> BTreeMap<(usize, usize), KeyCounts> {
        self.executor.iter_mut().for_each(Executor::keep);
        std::mem::take(&mut self.keys)
    }
}

fn cannot_rebuild(batch: u64, error: &Error, lost: &str) -> Error {
    let why = match error {
        Error::Rebuild { message, .. } => message.clone(),
        other => other.to_string(),
    };
    Error::Rebuild {
        batch,
        message: format!("{why} (they were lost: {lost})"),
    }
}

/// Drops what user code has made, which may panic.
pub(crate) fn dropped<T>(value: T) {
    let done: std::result::Result<(), String> = panics::catch(|| {
        drop(value);
        Ok(())
    });
    if let Err(message) = done {
        tracing::error!(
            message,
            "a value of a batch that failed could not be dropped"
        );
    }
}
