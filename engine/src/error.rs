//! Everything that can go wrong, in words that say what, where and what to do.

use crate::batch::Batch;
use highwater_checkpoint::CheckpointError;
use highwater_wal::{Lsn, WalError};
use std::fmt;
use std::path::PathBuf;

/// Result of engine calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that user code hands to the engine.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What an engine call can fail with.
///
/// `Debug` prints the same words as `Display`: it is what `fn main() -> highwater::Result<()>` shows.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is wrong: found before any batch ran.
    #[error(transparent)]
    Graph(#[from] GraphErrors),
    /// The closure given to `get_or_create` returned an error.
    #[error("building the program failed: {0}")]
    Build(#[source] BoxError),
    /// The log.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The checkpoints.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The program does not fit the state on disk; nothing was changed.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A batch failed: its outputs were not committed, its input stays in the log and runs again at the next start.
    #[error(transparent)]
    Batch(#[from] BatchFailure),
    /// A sink failed.
    #[error(
        "{batch}: output {output} failed while it was {phase}: {source}. Nothing is lost: the batch stays in the log and runs again at the next start"
    )]
    Output {
        /// Name and kind of the output.
        output: String,
        /// The batch.
        batch: Batch,
        /// What the sink was doing: opening, staging or publishing.
        phase: &'static str,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// A source could not start.
    #[error("source \"{name}\" failed: {source}")]
    Source {
        /// Name of the source.
        name: String,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// A call that the life cycle does not allow, such as starting twice.
    #[error("{0}")]
    LifeCycle(&'static str),
    /// `context.input::<T>(name)` for a name or a type that the program does not have.
    #[error("{0}")]
    NoSuchInput(String),
    /// The engine is stopping or stopped; the record was not accepted.
    #[error("the streaming context is stopped: the record was not accepted")]
    Stopped,
    /// A record could not be encoded.
    #[error("a record for input \"{input}\" does not serialise: {message}")]
    Encode {
        /// Name of the input.
        input: String,
        /// What the serialiser said.
        message: String,
    },
    /// What the log holds cannot be what this engine wrote.
    #[error("the log in {dir} holds an engine record that does not fit at LSN {lsn}: {what}")]
    Journal {
        /// Directory of the log.
        dir: PathBuf,
        /// Where.
        lsn: Lsn,
        /// What is wrong with it.
        what: String,
    },
    /// What ended the context, for everybody who asks.
    #[error(transparent)]
    Ended(std::sync::Arc<Error>),
    /// A worker thread went away.
    #[error(
        "a worker thread ended unexpectedly: {0}. The batch was not committed and runs again at the next start"
    )]
    Worker(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A batch that user code failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
#[non_exhaustive]
pub struct BatchFailure {
    /// The batch.
    pub batch: Batch,
    /// Kind and name (or place) of the operator.
    pub operator: String,
    /// The record, where one record can be blamed: behind a shuffle only the batch's range is known.
    pub lsn: Option<Lsn>,
    /// The panic's or the error's message.
    pub message: String,
}

impl BatchFailure {
    fn text(&self) -> String {
        let place = self
            .lsn
            .map_or(String::new(), |lsn| format!(", record at LSN {lsn}"));
        format!(
            "{} failed in operator {}{place}: {}. Nothing is lost: its input stays in the log and runs again at the next start",
            self.batch, self.operator, self.message
        )
    }
}

/// All mistakes found in a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphErrors(pub Vec<GraphError>);

impl fmt::Display for GraphErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            all => {
                write!(f, "the program has {} mistakes:", all.len())?;
                all.iter().try_for_each(|e| write!(f, "\n  - {e}"))
            }
        }
    }
}

impl std::error::Error for GraphErrors {}

/// One mistake in a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Nothing would ever be computed.
    #[error(
        "the program has no output: end at least one stream with print(), for_each_batch(..), save_as_text_files(..) or sink(..)"
    )]
    NoOutput,
    /// Two named things with one name.
    #[error(
        "the name \"{name}\" is used twice: first by {first}, again by {second}. State and positions belong to the name, so give one of them another"
    )]
    DuplicateName {
        /// The name.
        name: String,
        /// Who had it first.
        first: String,
        /// Who wants it too.
        second: String,
    },
    /// A name that cannot be one.
    #[error(
        "\"{name}\" cannot be the name of {operator}: a name has 1 to 200 bytes and no control characters"
    )]
    BadName {
        /// The name.
        name: String,
        /// Whose.
        operator: String,
    },
    /// Streams of two contexts were mixed.
    #[error("{operator} combines streams of two different contexts")]
    ForeignStream {
        /// Which operator.
        operator: String,
    },
    /// A setting of an operator makes no sense.
    #[error("{operator}: {what}")]
    BadSetting {
        /// Which operator.
        operator: String,
        /// What is wrong.
        what: String,
    },
}

/// The program in the code and the state on disk do not fit: starting would lose or misread state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A state on disk has no operator.
    #[error(
        "state \"{name}\" ({entries} keys, {types}) of checkpoint {checkpoint} has no operator in this program, so starting would lose it. If the operator was renamed, say .rename_state(\"{name}\", \"new name\") on the builder; to throw the state away, say .drop_state(\"{name}\")"
    )]
    StateWithoutOperator {
        /// Name of the state.
        name: String,
        /// Keys that it holds.
        entries: u64,
        /// Its types when it was written.
        types: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
    },
    /// The operator of that name is of another kind.
    #[error(
        "state \"{name}\" of checkpoint {checkpoint} was written by {then}, but the program's \"{name}\" is {now}, which would misread it. Give the new operator another name and say .drop_state(\"{name}\"), or move it with .rename_state(..)"
    )]
    OtherKind {
        /// Name of the state.
        name: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
        /// The kind that wrote it.
        then: String,
        /// The kind in the program.
        now: String,
    },
    /// State that does not decode as the program's type.
    #[error(
        "state \"{name}\" of checkpoint {checkpoint}, key group {group}: does not decode as {now} (it was written as {then}): {message}. Give added fields #[serde(default)], convert it with .migrate_state::<Old, New>(\"{name}\", ..), or throw it away with .drop_state(\"{name}\")"
    )]
    Undecodable {
        /// Name of the state.
        name: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
        /// Key group of the entry.
        group: u32,
        /// Types in the program.
        now: String,
        /// Types when it was written.
        then: String,
        /// What the decoder said.
        message: String,
    },
    /// The number of key groups is fixed when a directory is created.
    #[error(
        "this directory was created with {on_disk} key groups and the program asks for {in_code}: the number is fixed at creation, set .key_groups({on_disk})"
    )]
    KeyGroups {
        /// As created.
        on_disk: u32,
        /// As asked for.
        in_code: u32,
    },
    /// A source is gone from the program, but acknowledged records of it are in no checkpoint yet: batches with them would
    /// have to be run, or replayed for the state.
    #[error(
        "source \"{name}\" has {records} acknowledged records in the log that no checkpoint covers yet, and this program has no source of that name, so starting would lose them. Start once more with the source and stop gracefully, which takes a checkpoint, or throw them away with .drop_source(\"{name}\")"
    )]
    SourceGone {
        /// Name of the source.
        name: String,
        /// Records that would be lost.
        records: u64,
    },
    /// A state would take the name of a source that once wrote here.
    #[error(
        "the program's state \"{name}\" has the name of a source that has written into this directory: their places in checkpoints would be one. Give the state another name"
    )]
    NameOfASource {
        /// The name.
        name: String,
    },
    /// Two states on disk would become one.
    #[error(
        "the states \"{first}\" and \"{second}\" of checkpoint {checkpoint} would both become the program's \"{name}\": correct .rename_state(..), or throw one away with .drop_state(..)"
    )]
    TwoStatesForOne {
        /// One state on disk.
        first: String,
        /// The other.
        second: String,
        /// The state of the program.
        name: String,
        /// The checkpoint that holds them.
        checkpoint: u64,
    },
    /// The log begins after its birth but there is no checkpoint for what was truncated.
    #[error(
        "the log in {dir} begins at LSN {first}, and no checkpoint covers what was below: the checkpoints were removed or belong elsewhere. Restore the directory `checkpoints` next to the log; nothing was changed"
    )]
    NoCheckpoint {
        /// Directory of the log.
        dir: String,
        /// Where it begins.
        first: u64,
    },
    /// Another application's directory.
    #[error(
        "this directory belongs to the application \"{on_disk}\", not to \"{in_code}\": take another directory, or say .application(\"{on_disk}\") if it is the same one"
    )]
    OtherApplication {
        /// As created.
        on_disk: String,
        /// As asked for.
        in_code: String,
    },
}
