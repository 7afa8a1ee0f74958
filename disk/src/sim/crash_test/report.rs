//! What a crash test has tried, or what has failed.

use std::error::Error;
use std::fmt;

/// What a crash test has tried. Every check passed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashReport {
    /// So many operations of the disk the undisturbed program makes: those that could change what
    /// a power cut leaves ([`SimDisk::mutations`](crate::SimDisk::mutations)). 0 if only one cut
    /// was asked for.
    pub operations: u64,
    /// So often the power was cut: before an operation, or after the last one.
    pub cuts: u64,
    /// So many outcomes of these cuts were checked: as many for each as there are seeds.
    pub restarts: u64,
    /// So many of them were cut a second time, during the recovery, and checked after that.
    pub cuts_in_recovery: u64,
    /// The one cut that was asked for, if not all were made.
    pub only: Option<String>,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cut) = &self.only {
            return write!(f, "one power cut alone, {cut}: the check passed");
        }
        write!(
            f,
            "{} power cuts at {} operations of the disk, {} restarts, {} of them cut again: \
             every check passed",
            self.cuts, self.operations, self.restarts, self.cuts_in_recovery
        )
    }
}

/// A power cut after which the check failed, or a crash test that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashFailure {
    /// Which cut: for [`CrashTest::only`](super::CrashTest::only). `None` if no cut was needed.
    pub cut: Option<String>,
    /// The operation before which the power was cut: the call and its path.
    pub operation: Option<String>,
    /// What went wrong.
    pub what: String,
    /// One line for a shell that makes this cut alone.
    pub paste: Option<String>,
}

impl CrashFailure {
    /// A failure that needs no cut.
    pub(super) fn undisturbed(what: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            cut: None,
            operation: None,
            what: what.into(),
            paste: None,
        })
    }
}

impl fmt::Display for CrashFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(cut), Some(operation)) = (&self.cut, &self.operation) {
            write!(f, "power cut {cut}, {operation}: ")?;
        }
        f.write_str(&self.what)?;
        match &self.paste {
            Some(line) => write!(f, "\nthis cut alone: {line}"),
            None => Ok(()),
        }
    }
}

impl Error for CrashFailure {}
