//! Everything that can go wrong. Messages name what, where, and what to do.

use crate::ask_error::AskError;
use crate::batch::Batch;
use crate::mismatch::Mismatch;
use highwater_checkpoint::CheckpointError;
use highwater_wal::{Lsn, WalError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Result of engine calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that user code hands to the engine.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What an engine call can fail with.
///
/// `Debug` prints the same words as `Display`: it is what `fn main() -> highwater::Result<()>`
/// shows.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is wrong: found before any batch ran.
    #[error(transparent)]
    Graph(#[from] GraphErrors),
    /// The directory of the context is relative, and the working directory cannot be found (any
    /// more).
    #[error(
        "the directory {dir:?} of the context is relative and the working directory cannot be found: {source}; give an absolute path"
    )]
    Directory {
        /// As it was given.
        dir: PathBuf,
        /// The system's error.
        #[source]
        source: std::sync::Arc<std::io::Error>,
    },
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
    /// A batch failed: its outputs were not committed, its input stays in the log and runs again at
    /// the next start.
    #[error(transparent)]
    Batch(Box<BatchFailure>),
    /// A sink failed for good: its error is permanent, it was given up, or the context stopped
    /// while it failed.
    #[error(
        "{batch}: output {output} failed while it was {phase}{}: {source}. Nothing is lost: {}",
        times(*attempts),
        after_failed_output(phase)
    )]
    Output {
        /// Name and kind of the output.
        output: String,
        /// The batch.
        batch: Batch,
        /// What the sink was doing: staging or publishing.
        phase: &'static str,
        /// How often it was tried.
        attempts: u64,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// A sink could not start.
    #[error("output {output} cannot start: {source}. No batch was run")]
    OutputOpen {
        /// Name and kind of the output.
        output: String,
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
    /// This process was asked for a dry run, by the environment: nothing was started.
    #[error("nothing is started, because HIGHWATER_DRY_RUN asks for a dry run: {0}")]
    DryRun(String),
    /// This process was asked to replay a log beside its program, by the environment: nothing was
    /// started.
    #[error("nothing is started, because HIGHWATER_REPLAY asks for a replay: {0}")]
    Replayed(String),
    /// A log cannot be replayed beside the program that writes it. That one is not affected.
    #[error("the log cannot be replayed: {0}")]
    Replay(String),
    /// A savepoint could not be written. Nothing else is affected.
    #[error("no savepoint was written: {0}")]
    Savepoint(String),
    /// A setting of the context that cannot be meant.
    #[error("{0}")]
    Setting(String),
    /// A call that the life cycle does not allow, such as starting twice.
    #[error("{0}")]
    LifeCycle(&'static str),
    /// `context.input::<T>(name)` for a name or a type that the program does not have.
    #[error("{0}")]
    NoSuchInput(String),
    /// A slice of times whose batches are no longer remembered.
    #[error("{0}")]
    NotRemembered(String),
    /// `context.datasets::<T>(name)` for a name or a type that the program does not have.
    #[error("{0}")]
    NoSuchDataset(String),
    /// A question to a state.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The result of a past batch that cannot be had.
    #[error("batch {batch} of the dataset \"{name}\" cannot be had: {message}")]
    Dataset {
        /// Name of the dataset.
        name: String,
        /// The batch.
        batch: u64,
        /// Why, and which settings decide it.
        message: String,
    },
    /// The engine is stopping or stopped; the record was not accepted.
    #[error("the streaming context is stopped: the record was not accepted")]
    Stopped,
    /// Too much of the log waits for processing, and the call does not wait, or no batch runs that
    /// could make room.
    #[error(
        "no room: {unprocessed} bytes of the log wait for processing, and max_unprocessed_bytes is {max_unprocessed_bytes}. The record was not accepted: {remedy}, or set a larger .max_unprocessed_bytes(..)"
    )]
    NoRoom {
        /// Bytes that wait.
        unprocessed: u64,
        /// The bound, as set.
        max_unprocessed_bytes: u64,
        /// How long the batches need for what waits, by what they have done lately; `None` if that
        /// is not known.
        retry_in: Option<Duration>,
        /// What makes room.
        remedy: &'static str,
    },
    /// A source is faster than its rate, and the call does not wait, or nothing would end the wait.
    #[error(
        "source \"{source_name}\" may have {records_per_second} records per second, and has had them. The record was not accepted: another one may pass in {retry_in:?}. {remedy}, or set a higher .max_rate(..) or other .back_pressure(..)"
    )]
    RateExceeded {
        /// Name of the source.
        source_name: String,
        /// Its rate at the moment.
        records_per_second: u64,
        /// When the next record may pass.
        retry_in: Duration,
        /// What to do.
        remedy: &'static str,
    },
    /// A record does not serialise, or would not come back from the log as it is.
    #[error(
        "a record for input \"{input}\" cannot be written as it is: {message}. It was not accepted"
    )]
    Encode {
        /// Name of the input.
        input: String,
        /// What the serialiser said, or what would change.
        message: String,
    },
    /// A producer writes with an epoch that a newer life of it has ended.
    #[error(
        "source \"{source_name}\": the producer \"{producer}\" wrote with epoch {epoch}, but a newer life of it has begun epoch {current}. Nothing was stored: end this producer, or give it an epoch above {current}"
    )]
    Fenced {
        /// Name of the source.
        source_name: String,
        /// The producer.
        producer: String,
        /// Its epoch.
        epoch: u64,
        /// The epoch that the log knows.
        current: u64,
        /// A frame of that epoch. The refusal rests on it: it holds once this is durable.
        lsn: Lsn,
    },
    /// A producer that numbers its frames without gaps has sent one that is not the next.
    #[error(
        "source \"{source_name}\": the producer \"{producer}\" sent number {sequence} of epoch {epoch}, and {expected} is the next. Nothing was stored: send what is missing first, or begin a higher epoch at 0"
    )]
    SequenceGap {
        /// Name of the source.
        source_name: String,
        /// The producer.
        producer: String,
        /// Its epoch.
        epoch: u64,
        /// The number of the frame.
        sequence: u64,
        /// The number that would be the next.
        expected: u64,
        /// The newest frame of the producer, if the log has one. The refusal rests on it: it holds
        /// once this is durable.
        lsn: Option<Lsn>,
    },
    /// Other records were sent with the same idempotency key before.
    #[error(
        "source \"{source_name}\": the log has other records with this idempotency key, at LSN {lsn}. Nothing was stored: give each request a key of its own, and send a retry unchanged"
    )]
    KeyReused {
        /// Name of the source.
        source_name: String,
        /// Where the records are that have the key. The refusal rests on it: it holds once this is
        /// durable.
        lsn: Lsn,
    },
    /// A source stored a record that it could not read back.
    #[error(
        "source \"{name}\" refused a record of {bytes} bytes: it does not decode ({message}). It was not stored and must not be acknowledged"
    )]
    Record {
        /// Name of the source.
        name: String,
        /// Which of the records that were offered, from 0; `None` if it is the name of the
        /// producer, or the key.
        index: Option<usize>,
        /// Length of the record.
        bytes: usize,
        /// What the decoder said.
        message: String,
    },
    /// A state that a checkpoint could not give back.
    #[error(
        "the state \"{name}\" of {operator} cannot be written into a checkpoint: {message}. Nothing is lost: the log is kept; correct the type and start again"
    )]
    State {
        /// Name of the state.
        name: String,
        /// Kind of its operator.
        operator: String,
        /// What is wrong, with the key.
        message: String,
    },
    /// What the log holds cannot be what this engine wrote.
    #[error("the log in {dir} holds an engine record that does not fit at LSN {lsn}: {what}")]
    EngineLog {
        /// Directory of the log.
        dir: PathBuf,
        /// Where.
        lsn: Lsn,
        /// What is wrong with it.
        what: String,
    },
    /// What ended the context, for every call that waits for the end.
    #[error(transparent)]
    Ended(std::sync::Arc<Error>),
    /// The state of the workers was lost and could not be had again.
    #[error(
        "the workers could not be built again before batch {batch}: {message}. The batch was not committed and runs again at the next start"
    )]
    Rebuild {
        /// The batch that was to run.
        batch: u64,
        /// Why, and what had gone before.
        message: String,
    },
    /// The store of dead letters has no room.
    #[error(
        "the store of dead letters has no room for {bytes} bytes: {open} open letters take {used} of at most {max_dead_letter_bytes}. The batch stays in the log and runs again at the next start: set a larger .max_dead_letter_bytes(..), and replay what is there (highwater dead-letters replay)"
    )]
    DeadLettersFull {
        /// Letters that were not replayed.
        open: usize,
        /// What the store has, in bytes.
        used: u64,
        /// What was to be put aside.
        bytes: u64,
        /// The bound, as set.
        max_dead_letter_bytes: u64,
    },
    /// A request to replay dead letters could not be written or read.
    #[error("requests to replay dead letters, in {dir}: {what}")]
    DeadLetterRequest {
        /// Where requests are.
        dir: PathBuf,
        /// What went wrong.
        what: String,
    },
    /// A worker thread went away.
    #[error(
        "a worker thread ended unexpectedly: {0}. The batch was not committed and runs again at the next start"
    )]
    Worker(String),
}

impl Error {
    /// Whether a later attempt may succeed. Nothing was appended: room or file descriptors are
    /// wanting (P8), or the log is at its bound until a checkpoint frees a part of it.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Error::Log(WalError::Io { .. } | WalError::LogFull { .. })
        )
    }
}

impl From<BatchFailure> for Error {
    fn from(failure: BatchFailure) -> Self {
        Self::Batch(Box::new(failure))
    }
}

fn times(attempts: u64) -> String {
    match attempts {
        0 | 1 => String::new(),
        attempts => format!(" (tried {attempts} times)"),
    }
}

fn after_failed_output(phase: &str) -> &'static str {
    match phase {
        "publishing" => "the batch is committed, and the next start publishes it",
        _ => "the batch stays in the log and runs again at the next start",
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A batch that user code failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}", self.text())]
#[non_exhaustive]
pub struct BatchFailure {
    /// The batch.
    pub batch: Batch,
    /// Kind and name (or place) of the operator.
    pub operator: String,
    /// The record that failed. `None` after a shuffle, where only the batch's range is known.
    pub lsn: Option<Lsn>,
    /// The key whose code panicked, as it serialises; a long one is cut. `None` where the code does
    /// not run for one key, or where the message names the key.
    pub key: Option<String>,
    /// The panic's or the error's message.
    pub message: String,
    /// How many attempts at the batch have failed: this was the last one. See
    /// [`max_batch_failures`](crate::Builder::max_batch_failures).
    pub attempts: u32,
}

impl BatchFailure {
    fn text(&self) -> String {
        let place = self
            .lsn
            .map_or(String::new(), |lsn| format!(", record at LSN {lsn}"));
        let key = self.key.as_ref();
        let key = key.map_or(String::new(), |key| format!(", key {key}"));
        let attempts = match self.attempts {
            0 | 1 => String::new(),
            n => format!(" (the last of {n} attempts)"),
        };
        format!(
            "{} failed in operator {}{place}{key}: {}{attempts}. Nothing is lost: its input stays in the log and runs again at the next start",
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
    /// An operator puts records aside, and has no name that stays.
    #[error(
        "{operator} puts records on which it fails aside as dead letters, which belong to its name: give it one with .named(\"..\") behind it"
    )]
    Unnamed {
        /// Which operator.
        operator: String,
    },
    /// Streams of two contexts were mixed.
    #[error("{operator} combines streams of two different contexts")]
    ForeignStream {
        /// Which operator.
        operator: String,
    },
    /// Streams were combined that do not have records in the same batches.
    #[error(
        "{operator} combines a stream that has records every {first_ms} ms with one that has them every {second_ms} ms: the slides must be equal. Give both the same window, or window their union"
    )]
    DifferentSlides {
        /// Which operator.
        operator: String,
        /// The slide of one stream, or the batch interval if it has none, in milliseconds.
        first_ms: u64,
        /// That of the other.
        second_ms: u64,
    },
    /// Length or slide of a window is not a multiple of the time between two batches of its input.
    #[error(
        "{operator}: the {what} of the window is {given:?}, and its input has a batch every {interval:?}. Length and slide must be positive multiples of that time, which is the batch interval, or the slide of the window before"
    )]
    BadWindow {
        /// Which operator.
        operator: String,
        /// `length` or `slide`.
        what: &'static str,
        /// As the program has it.
        given: Duration,
        /// The batch interval, or the slide of the stream that the window reads.
        interval: Duration,
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
