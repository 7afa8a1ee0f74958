//! The settings of checkpoints.

use crate::checkpointing::policy::CheckpointPolicy;
use crate::context::builder::build::Builder;
use crate::settings::StateCodec;
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

    /// How states are laid out in checkpoints. Default: [`StateCodec::Named`].
    ///
    /// [`StateCodec::Compact`] makes checkpoints of structs about a quarter smaller. It takes a
    /// fifth to two thirds more processor time to write them, and a third more to load them.
    /// Structs of nothing but numbers can become a tenth larger, and key groups of fewer than a
    /// hundred keys gain nothing. What is read back is the same, byte by byte, so types may change
    /// as they may with `Named`.
    ///
    /// It may differ from start to start. Nothing is converted: each piece of a checkpoint says how
    /// it is laid out, and older pieces stay as they are until they are written again.
    #[must_use]
    pub fn state_codec(mut self, codec: StateCodec) -> Self {
        self.settings.state_codec = codec;
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

    /// A directory that has no log yet begins with the newest checkpoint in the store at `url`,
    /// which [`StreamingContext::savepoint`] has written, or which is the store of another
    /// directory. The URL is one of [`checkpoint_url`](Self::checkpoint_url).
    ///
    /// States, positions of sources and sequence numbers of producers are as they were there; batch
    /// ids, batch times and LSNs go on. The log is a new one. The call may stay: where there is a
    /// log already, it does nothing.
    ///
    /// An output that marks what it has written refuses the new log, as it refuses any other
    /// program. It takes over what a program has written that had stopped: see
    /// [`StreamingContext::stop_with_savepoint`].
    ///
    /// [`StreamingContext::savepoint`]: crate::StreamingContext::savepoint
    /// [`StreamingContext::stop_with_savepoint`]: crate::StreamingContext::stop_with_savepoint
    #[must_use]
    pub fn from_savepoint(mut self, url: &str) -> Self {
        (self.settings.savepoint, self.settings.savepoint_url_refused) = match open_url(url) {
            Ok(store) => (Some(store), None),
            Err(refused) => (None, Some(refused.to_string())),
        };
        self
    }

    /// [`Self::from_savepoint`], with a store.
    #[must_use]
    pub fn from_savepoint_store(mut self, store: Arc<dyn Store>) -> Self {
        self.settings.savepoint = Some(store);
        self.settings.savepoint_url_refused = None;
        self
    }

    /// The log of checkpoint `number` is lost for good, and with it every record that was
    /// acknowledged after that checkpoint. The program goes on from it, with a new log.
    ///
    /// Without this call a start refuses checkpoints whose log is gone
    /// ([`Mismatch::LogGone`](crate::Mismatch::LogGone)); the error names the number. The call may
    /// stay: it is about this one checkpoint.
    ///
    /// An output that has published a later batch before the loss refuses to start until that is
    /// moved away: the new log gives the number of that batch to another one.
    #[must_use]
    pub fn accept_loss(mut self, number: u64) -> Self {
        self.settings.accepted_loss = Some(number);
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
