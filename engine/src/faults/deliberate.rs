//! Deliberate faults of the engine. A test rig that cannot fail proves nothing, so the suite runs
//! its checks against an engine that cheats and demands that they object. Only with the feature
//! `deliberate-faults`, which no release has: there `none.rs` takes its place. Not part of the API.

/// What the engine does wrong.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cheat {
    /// Nothing is wrong.
    #[default]
    None,
    /// The log is truncated before the checkpoint that covers it is durable.
    TruncateBeforeCheckpoint,
    /// Outputs are published before the log has the record that commits the batch.
    PublishBeforeCommit,
    /// A batch runs before its cut is durable.
    RunBeforeCut,
    /// The record that commits a batch lists all parts of its outputs but one.
    ForgetAPart,
    /// A batch that was committed runs again without what it has refused then.
    ForgetRefused,
    /// Dead letters are put aside after their batch is committed.
    CommitBeforeLetters,
    /// Letters stay open when they are replayed.
    ForgetReplays,
}

/// What the engine does wrong on purpose.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults(Cheat);

impl From<Cheat> for Faults {
    fn from(cheat: Cheat) -> Self {
        Self(cheat)
    }
}

impl Faults {
    /// Whether the log is truncated to a checkpoint that is not published.
    pub(crate) fn truncate_before_checkpoint(self) -> bool {
        self.0 == Cheat::TruncateBeforeCheckpoint
    }

    /// Whether outputs are shown before the batch is committed.
    pub(crate) fn publish_before_commit(self) -> bool {
        self.0 == Cheat::PublishBeforeCommit
    }

    /// Whether a batch runs before its cut is durable.
    pub(crate) fn run_before_cut(self) -> bool {
        self.0 == Cheat::RunBeforeCut
    }

    /// Whether the log lists one part less than was staged.
    pub(crate) fn forget_a_part(self) -> bool {
        self.0 == Cheat::ForgetAPart
    }

    /// Whether a rebuild does not know what was refused.
    pub(crate) fn forget_refused(self) -> bool {
        self.0 == Cheat::ForgetRefused
    }

    /// Whether a batch is committed before its dead letters are durable.
    pub(crate) fn commit_before_letters(self) -> bool {
        self.0 == Cheat::CommitBeforeLetters
    }

    /// Whether nothing remembers that a letter was replayed.
    pub(crate) fn forget_replays(self) -> bool {
        self.0 == Cheat::ForgetReplays
    }
}
