//! How a command ends, and the exit codes: 0 ok, 1 finding, 2 usage, 3 I/O.

use highwater_wal::WalError;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Result of a command.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// How a command that could do its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong.
    Clean,
    /// Something is: it was printed.
    Finding,
    /// A program that was run ended with this code.
    Code(u8),
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn clean_if(clean: bool) -> Self {
        if clean { Self::Clean } else { Self::Finding }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Clean => Self::SUCCESS,
            Outcome::Finding => Self::from(1),
            Outcome::Code(code) => Self::from(code),
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub enum Failure {
    /// Damage that leaves nothing to go on with.
    Finding(String),
    /// What was asked for makes no sense.
    Usage(String),
    /// The operating system, or a process that should have answered.
    Io(String),
    /// The reader of our output has gone: no error.
    BrokenPipe,
}

impl Failure {
    /// An I/O failure on `path`.
    pub fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::Io(format!("{what} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finding(text) | Self::Usage(text) | Self::Io(text) => f.write_str(text),
            Self::BrokenPipe => f.write_str("the reader of the output has gone"),
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Finding(_) => Self::from(1),
            Failure::Usage(_) => Self::from(2),
            Failure::Io(_) => Self::from(3),
            Failure::BrokenPipe => Self::SUCCESS,
        }
    }
}

impl From<WalError> for Failure {
    fn from(error: WalError) -> Self {
        match error {
            WalError::Corrupt { .. } | WalError::NewerFormat { .. } => {
                Self::Finding(error.to_string())
            }
            WalError::Truncated { .. }
            | WalError::BeyondEnd { .. }
            | WalError::BadOptions { .. } => Self::Usage(error.to_string()),
            _ => Self::Io(error.to_string()),
        }
    }
}

/// The exit code for what clap has printed: help is a success.
pub fn code_of_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}
