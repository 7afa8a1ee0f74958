//! Why a connection ends, or what else is only told.

/// Any error.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
