//! The settings of checkpoints.

use crate::checkpointing::policy::CheckpointPolicy;
use crate::context::builder::Builder;
use highwater_checkpoint::{Store, open_url};
use std::sync::Arc;

impl Builder {
    /// How often a checkpoint is taken. Default: every ten seconds, that is, after the smallest
    /// number of batches whose intervals together are at least that.
    /// [`CheckpointPolicy::recovery_target`] says instead how long a recovery may take.
    #[must_use]
    pub fn checkpoint(mut self, policy: CheckpointPolicy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// How many checkpoints are kept, at least 2; the log reaches back to the oldest. Default 2.
    #[must_use]
    pub fn retain_checkpoints(mut self, count: usize) -> Self {
        self.settings.retain = count.max(2);
        self
    }

    /// How many bytes of states may be copied for a checkpoint and not be written yet. Default
    /// 64 MiB.
    ///
    /// What a checkpoint has is copied between batches and written by a thread of its own. While
    /// this much waits for that thread, nothing more is copied. It is exceeded by a key group for
    /// each worker, and by states that batches change meanwhile: of those the old value is kept
    /// until the checkpoint has it. [`ContextEvent::CheckpointCompleted`] tells how much it was.
    ///
    /// [`ContextEvent::CheckpointCompleted`]: crate::ContextEvent::CheckpointCompleted
    #[must_use]
    pub fn checkpoint_memory(mut self, bytes: u64) -> Self {
        self.settings.checkpoint_memory = bytes;
        self
    }

    /// Where checkpoints are kept. Default: the directory `checkpoints` beside the log.
    ///
    /// The store belongs to this log alone. A start refuses a store whose newest checkpoint is of
    /// another log. Before that it removes unfinished files there, as after a crash.
    #[must_use]
    pub fn checkpoint_store(mut self, store: Arc<dyn Store>) -> Self {
        self.settings.checkpoint_store = Some(store);
        self.settings.checkpoint_url_refused = None;
        self
    }

    /// Where checkpoints are kept, as a URL: `file:///directory`, `s3://bucket/prefix`,
    /// `gs://bucket/prefix`, `az://container/prefix` or `hdfs://host:port/directory`; see
    /// [`open_url`] for features and credentials. [`get_or_create`](Self::get_or_create) refuses
    /// one that cannot be used. Otherwise as [`checkpoint_store`](Self::checkpoint_store).
    #[must_use]
    pub fn checkpoint_url(mut self, url: &str) -> Self {
        match open_url(url) {
            Ok(store) => self.checkpoint_store(store),
            Err(refused) => {
                self.settings.checkpoint_url_refused = Some(refused.to_string());
                self
            }
        }
    }
}
