//! What was decided, and is not to be told before it lasts.

use crate::error::Result;
use crate::interface::refusal::Refusal;
use crate::shared::core::{Core, RestsOn};
use highwater_wal::Lsn;
use std::sync::Arc;

/// What was decided on a request. It may rest on frames that a crash could still take back, so it
/// comes out by waiting for them alone: [`Self::wait`], or [`Self::told`].
///
/// To drop it changes nothing: what was decided stays.
#[derive(Debug)]
#[must_use = "what was decided is told by `wait` or `told`"]
pub struct Decision<T> {
    core: Arc<Core>,
    outcome: std::result::Result<T, Refusal>,
    /// The newest frame that it rests on, and that frame's stream.
    rests_on: RestsOn,
}

impl<T> Decision<T> {
    pub(crate) fn new(
        core: &Arc<Core>,
        outcome: std::result::Result<T, Refusal>,
        rests_on: RestsOn,
    ) -> Self {
        Self {
            core: Arc::clone(core),
            outcome,
            rests_on,
        }
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.outcome.is_ok()
    }

    /// The log position of what it rests on, if that was not known to be durable.
    #[must_use]
    pub fn lsn(&self) -> Option<u64> {
        self.rests_on.map(|(lsn, _)| lsn)
    }

    /// Blocks until it lasts.
    ///
    /// # Errors
    /// [`Error::Log`](crate::Error::Log) if the log fails: whether it lasts is not known then.
    pub fn wait(self) -> Result<std::result::Result<T, Refusal>> {
        if let Some((lsn, stream)) = self.rests_on {
            self.core.wal.sync_to(Lsn::new(lsn))?;
            self.core.settle(stream);
        }
        Ok(self.outcome)
    }

    /// Waits until it lasts, with any executor.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn told(self) -> Result<std::result::Result<T, Refusal>> {
        if let Some((lsn, stream)) = self.rests_on {
            self.core.wal.durable(Lsn::new(lsn)).await?;
            self.core.settle(stream);
        }
        Ok(self.outcome)
    }
}
