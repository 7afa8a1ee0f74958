//! An error of a sink that says whether another attempt may help.

use crate::error::BoxError;
use std::error::Error as StdError;
use std::fmt;
use std::io;

/// An error of a sink that no other attempt will cure.
///
/// What else a sink returns is taken for something that passes: a database that is down, a full
/// disk. Such a batch waits and is tried again ([`OutputRetry`](crate::OutputRetry)). A permanent
/// error stops the context with output, batch and positions in the log.
///
/// ```
/// use highwater_engine::{BoxError, SinkError};
///
/// fn insert(amount: i64) -> Result<(), BoxError> {
///     if amount < 0 {
///         return Err(SinkError::permanent("the table refuses negative amounts").into());
///     }
///     Ok(())
/// }
/// # assert!(SinkError::is_permanent(&insert(-1).unwrap_err()));
/// ```
#[derive(Debug)]
pub struct SinkError {
    source: BoxError,
}

impl SinkError {
    /// No other attempt will help.
    #[must_use]
    pub fn permanent(source: impl Into<BoxError>) -> Self {
        Self {
            source: source.into(),
        }
    }

    /// Whether `error` is permanent, or was caused by one that is.
    #[must_use]
    pub fn is_permanent(error: &BoxError) -> bool {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&**error);
        while let Some(error) = cause {
            // An I/O error names the cause of what it wraps as its own, and leaves that out.
            let wrapped = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            if error.is::<Self>() || wrapped.is_some_and(|wrapped| wrapped.is::<Self>()) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl StdError for SinkError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_permanent_if_one_of_its_causes_is() {
        let passing: BoxError = io::Error::other("down").into();
        assert!(!SinkError::is_permanent(&passing));
        let permanent = SinkError::permanent("no such table");
        assert_eq!(permanent.to_string(), "no such table");
        let wrapped: BoxError = io::Error::other(permanent).into();
        assert_eq!(wrapped.to_string(), "no such table");
        assert!(SinkError::is_permanent(&wrapped));
        #[derive(Debug)]
        struct Outer(SinkError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("outer")
            }
        }
        impl StdError for Outer {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        assert!(SinkError::is_permanent(
            &Outer(SinkError::permanent("x")).into()
        ));
    }
}
