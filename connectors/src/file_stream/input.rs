//! What a program says of the files of a stream.

use crate::line::Line;
use highwater_engine::{BoxError, ErrorPolicy, Record};
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// Makes a record of a line, or does not.
type TryDecode<T> = dyn Fn(&str) -> Result<T, BoxError> + Send + Sync;

/// What becomes of a line.
pub(crate) enum Decode<T> {
    /// It always becomes a record.
    Always(Arc<dyn Fn(Line) -> T + Send + Sync>),
    /// It may be none.
    Maybe(Arc<TryDecode<T>>),
}

impl<T> Clone for Decode<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Always(decode) => Self::Always(Arc::clone(decode)),
            Self::Maybe(decode) => Self::Maybe(Arc::clone(decode)),
        }
    }
}

/// What the files of [`Sources::file_stream`](crate::Sources::file_stream) hold, and how they are
/// read.
///
/// ```
/// use highwater_connectors::{FileInput, Line};
///
/// let lines: FileInput<Line> = FileInput::lines();
/// let numbers = FileInput::decoded(|line: &str| line.trim().parse::<u64>());
/// # let _ = (lines, numbers);
/// ```
pub struct FileInput<T> {
    pub(crate) decode: Decode<T>,
    pub(crate) policy: ErrorPolicy,
    pub(crate) by_offset: bool,
    pub(crate) max_rate: Option<u64>,
}

impl<T> Clone for FileInput<T> {
    fn clone(&self) -> Self {
        Self {
            decode: self.decode.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for FileInput<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileInput")
            .field("policy", &self.policy)
            .field("by_offset", &self.by_offset)
            .finish_non_exhaustive()
    }
}

impl FileInput<Line> {
    /// Lines, as they are.
    #[must_use]
    pub fn lines() -> Self {
        Self::of(Decode::Always(Arc::new(|line| line)))
    }
}

impl<T: Record> FileInput<T> {
    /// What `decode` makes of each line. A line on which it fails goes to the policy
    /// ([`Self::on_error`]): by default its batch fails.
    #[must_use]
    pub fn decoded<E: Into<BoxError>>(
        decode: impl Fn(&str) -> Result<T, E> + Send + Sync + 'static,
    ) -> Self {
        let decode = move |line: &str| decode(line).map_err(Into::into);
        Self::of(Decode::Maybe(Arc::new(decode)))
    }

    fn of(decode: Decode<T>) -> Self {
        Self {
            decode,
            policy: ErrorPolicy::FailBatch,
            by_offset: false,
            max_rate: None,
        }
    }

    /// A JSON value in each line. Empty lines are no values: they go to the policy too.
    #[must_use]
    pub fn json_lines() -> Self
    where
        T: DeserializeOwned,
    {
        Self::decoded(|line: &str| serde_json::from_str::<T>(line))
    }

    /// What becomes of lines that do not decode: the batch fails (the default), they are skipped
    /// and counted, or put aside as dead letters. It is the policy of what reads the stream, too,
    /// unless that gets another one.
    #[must_use]
    pub fn on_error(mut self, policy: ErrorPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// At most so many lines per second:
    /// [`DStream::max_rate`](highwater_engine::DStream::max_rate) of the source.
    #[must_use]
    pub fn max_rate(mut self, lines_per_second: u64) -> Self {
        self.max_rate = Some(lines_per_second);
        self
    }

    /// The files are read where they are, and not copied into the log. What is written to the
    /// disk is which bytes of which file a batch has.
    ///
    /// So a file must stay, unchanged, until a checkpoint covers it. The hash of each range is in
    /// the log. If a file is gone or was changed when a batch reads it, also after a restart, the
    /// context stops with an error that names the file, and goes on when it is put back. By
    /// default lines are copied into the log, and a file may go once it was read.
    #[must_use]
    pub fn by_offset(mut self) -> Self {
        self.by_offset = true;
        self
    }
}
