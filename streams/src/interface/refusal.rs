//! Why a request is refused: an answer, not a failure.

use crate::interface::position::Position;

/// Why a request is refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such stream.
    #[error("there is no such stream")]
    NotFound,
    /// The stream is deleted; forks of it still need its data, so that its name is taken.
    #[error(
        "the stream is deleted, and forks of it are left: its name is free when they are deleted"
    )]
    Gone,
    /// There is a stream of this name that was created in another way.
    #[error("there is a stream of this name with another configuration")]
    Exists,
    /// The stream is closed.
    #[error("the stream is closed")]
    Closed {
        /// Where it ends.
        end: Position,
    },
    /// The data is of another type than the stream.
    #[error("the stream has the content type {expected:?}")]
    ContentType {
        /// What the stream was created with.
        expected: String,
    },
    /// `Stream-Seq` does not ascend.
    #[error("the sequence must be greater than the last one, as bytes")]
    StreamSequence,
    /// A producer of a newer epoch has written.
    #[error(
        "a producer with this id and the newer epoch {current} has written: this one is to stop"
    )]
    StaleEpoch {
        /// The epoch that may write.
        current: u64,
    },
    /// The first request of an epoch has the sequence 0.
    #[error("the first request of an epoch must have the sequence 0")]
    EpochBegin,
    /// Requests of the producer are missing.
    #[error("the sequence must be {expected}, and is {received}: requests before it are missing")]
    Gap {
        /// The sequence that comes next.
        expected: u64,
        /// That of the request.
        received: u64,
    },
    /// The batch was appended before, but it is none of the newest ones of its producer: where it
    /// begins is not known any more.
    #[error("the messages from {received} on were appended before: {expected} comes next")]
    OldRetry {
        /// The number of the message that comes next.
        expected: u64,
        /// Of the first message of the request.
        received: u64,
    },
    /// The number of the first message is none: those are less than 2^31.
    #[error("messages have numbers less than 2147483648")]
    NoNumber,
    /// Messages are numbered, and the stream has bytes.
    #[error("the stream has bytes: messages in it have no numbers")]
    NoMessages,
    /// The stream starts later: the older data was given up.
    #[error("data before {start} was given up")]
    Truncated {
        /// Where it starts now.
        start: Position,
    },
    /// The position lies beyond the end.
    #[error("the position lies beyond the end {end}")]
    BeyondEnd {
        /// Where the stream ends.
        end: Position,
    },
    /// The stream to fork does not exist.
    #[error("there is no stream {0:?} to fork")]
    SourceNotFound(String),
    /// The stream to fork is deleted.
    #[error("the stream to fork is deleted")]
    SourceGone,
    /// No fork can begin there.
    #[error("no fork can begin there: {0}")]
    BadFork(&'static str),
    /// The request is larger than a frame of the log may be.
    #[error("a request may have {most} bytes")]
    TooLarge {
        /// The most that fits.
        most: usize,
    },
    /// The name, the type, or another text of the request is longer than is allowed, or empty.
    #[error("{what} must have 1 to {most} bytes")]
    BadText {
        /// Which one.
        what: &'static str,
        /// Its bound.
        most: usize,
    },
    /// There are as many streams as there may be.
    #[error("there are {most} streams, and may be no more")]
    TooManyStreams {
        /// The bound.
        most: usize,
    },
}
