//! How large a cluster is explored, what may go wrong in it, and what is broken on purpose.

/// Bounds and rules of one exploration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Processes that exist: 1 to 3.
    pub processes: usize,
    /// Those that take part in the first run.
    pub members: Vec<usize>,
    /// Those that take part in a second run, if an operator may change their number.
    pub rescale: Option<Vec<usize>>,
    /// Records that senders send to each process.
    pub records: Vec<u8>,
    /// Batches until the program ends: 1 to 3.
    pub batches: u8,
    /// Batches that are cut and not committed, at most.
    pub in_flight: u8,
    /// Checkpoints that are retained.
    pub retain: usize,
    /// State files are written after the batch has gone on, not together with its outputs.
    pub late_files: bool,
    /// Faults, all in all.
    pub faults: u8,
    /// Which faults.
    pub allowed: Vec<Fault>,
    /// What is broken on purpose.
    pub bug: Option<Bug>,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process dies. What is not durable is lost.
    Crash,
    /// A process stops, and goes on later with what it believed.
    Pause,
    /// A process stops, and another one with its index and its log takes its place. It goes on
    /// later, but cannot write the log.
    Replace,
    /// What one process sends to another is lost, until the next generation.
    Link,
    /// The answer of the store is lost: the write has happened, or happens later, or never.
    Answer,
    /// A process dies, and its log is gone.
    LogLoss,
    /// An operator starts another number of processes at a wrong time.
    Rescale,
}

/// What can be broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// Senders are told before the record is durable.
    AckBeforeDurable,
    /// A process acknowledges before it knows that a manifest names its log.
    AckBeforeNamed,
    /// A log is taken whatever its identity.
    TakeAnyLog,
    /// A process acknowledges after the last cut of a run.
    AckAfterLastCut,
    /// A batch that a log has cut before can become the last one.
    LastCutAgain,
    /// The number of processes changes although a batch is open.
    RescaleAnyTime,
    /// A process that survives goes on with the state that it has.
    KeepState,
    /// A state file has the state at the time of writing, not at the border of its batch.
    SaveLate,
    /// PUBLISH is sent before the commit is durable.
    PublishBeforeCommit,
    /// A batch is committed when process 0 has staged it.
    CommitBeforeStaged,
    /// Outputs are staged before the data of all processes has come.
    StageBeforeExchange,
    /// A manifest does not wait for PUBLISHED of all.
    ManifestBeforePublished,
    /// A manifest does not wait for the state files of all.
    ManifestBeforeFiles,
    /// Messages of an older generation are taken for those of the present one.
    TakeOldMessages,
    /// Logs are truncated to the newest checkpoint, not to the oldest retained one.
    TruncateToNewest,
    /// Logs are truncated before the answer of the store is known.
    TruncateBeforeAnswer,
    /// Every manifest that is found counts, also one that a late write has put in a removed one's
    /// place.
    CountAll,
    /// Manifests can be overwritten: there is no fence.
    NoFence,
    /// After a lost answer any manifest with the number is taken for one's own.
    AnyManifestIsOurs,
    /// IS_CUT is sent before the cut is durable.
    CutBeforeDurable,
    /// A later generation cuts a batch again, although its cut is durable.
    CutAgain,
    /// Outputs that were staged in an earlier generation are not told of again.
    StagedOnce,
    /// PUBLISHED is not told again in a later generation.
    PublishedOnce,
    /// A process does not notice that a peer other than process 0 is lost.
    NoticeLeaderOnly,
    /// A JOIN counts for more than one START.
    JoinsForEver,
    /// Nothing says that the program has ended but a message.
    EndByMessage,
    /// Relaxed: OPEN does not wait for the cuts of all.
    OpenEarly,
    /// A manifest that was created, and a START, count without a look whether there is a newer one.
    NoSecondLook,
}
