//! Why a batch is not taken.

use crate::wire::error::Code;

/// Why a batch is not taken: nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl Refused {
    pub(crate) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    /// The bytes are not what the format says.
    pub(crate) fn corrupt(reason: impl Into<String>) -> Self {
        Self::new(Code::CorruptMessage, reason)
    }

    /// They are, but do not make sense.
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::new(Code::InvalidRecord, reason)
    }
}
