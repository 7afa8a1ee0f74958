//! How a call to a store goes wrong.

/// How a call to a store goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Trouble {
    /// Status 500: nothing is done, but the caller cannot know.
    InternalError,
    /// Status 503: nothing is done, but the caller cannot know.
    SlowDown,
    /// Status 409: nothing is done, and the answer says that the file exists. Only creations.
    Conflict,
    /// Status 403 for this call and the next few: nothing is done, and that is known.
    CredentialsExpired,
    /// All of it is done, and the answer is lost.
    AnswerLost,
    /// The answer to a first request is lost, and its second try finds the file. Only creations.
    AnswerLostAndRetried,
    /// The connection breaks before anything is done.
    ConnectionReset,
    /// The connection breaks in the middle: of several files some are removed; of an answer some
    /// bytes have come.
    BrokenOff,
    /// The caller has given up, and it is done later: before one of the next calls.
    Late,
    /// The answer takes its time: see
    /// [`UnreliableStore::when_slow`](super::UnreliableStore::when_slow).
    Slow,
    /// A listing lacks a page: up to half of the files, in a row.
    ListTruncated,
    /// A listing is as old as one of the last changes.
    ListStale,
}

impl Trouble {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::InternalError,
        Self::SlowDown,
        Self::Conflict,
        Self::CredentialsExpired,
        Self::AnswerLost,
        Self::AnswerLostAndRetried,
        Self::ConnectionReset,
        Self::BrokenOff,
        Self::Late,
        Self::Slow,
        Self::ListTruncated,
        Self::ListStale,
    ];
}
