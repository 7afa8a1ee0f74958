//! The state line.

use serde::Serialize;

/// Where a program is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It was built, and not started.
    NotStarted,
    /// Batches that were cut before the start are replayed.
    Recovering,
    /// Batches are behind: the last one waited for longer than two intervals and a second for its
    /// turn, or a record has waited for as long as that and a batch takes.
    CatchingUp,
    /// A batch waits: an output is down, or an attempt has failed and is repeated.
    Waiting,
    /// Batches keep up.
    Steady,
    /// An error has ended it.
    Failed,
    /// It was stopped.
    Stopped,
    /// A directory is shown, not a program.
    AtRest,
}

impl Phase {
    /// Its name on the page.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::NotStarted => "Not started",
            Self::Recovering => "Recovering",
            Self::CatchingUp => "Catching up",
            Self::Waiting => "Waiting",
            Self::Steady => "Steady",
            Self::Failed => "Failed",
            Self::Stopped => "Stopped",
            Self::AtRest => "At rest",
        }
    }
}

/// How far a recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// Batches that were replayed.
    pub done: u64,
    /// Batches that there were to replay.
    pub of: u64,
    /// About how long the rest takes; `None` if nothing is known of that yet.
    pub eta_ms: Option<u64>,
}

/// What has ended a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What happened, and what to do.
    pub message: String,
    /// The operator in which it happened.
    pub operator: Option<String>,
    /// The record with which it happened.
    pub lsn: Option<u64>,
    /// The batch in which it happened.
    pub batch: Option<u64>,
}

/// The state line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The name of the application.
    pub application: String,
    /// Its directory.
    pub dir: String,
    /// The version of Highwater.
    pub version: String,
    /// When this was true.
    pub at_ms: u64,
    /// Where it is in its life.
    pub phase: Phase,
    /// The same in a sentence.
    pub sentence: String,
    /// How far a recovery is, while there is one.
    pub recovery: Option<Recovery>,
    /// What has ended it.
    pub failure: Option<Failure>,
    /// The last completed batch.
    pub last_batch: Option<u64>,
    /// Batches since the start.
    pub batches: u64,
    /// Attempts at batches that have failed since the start.
    pub failed_attempts: u64,
}
