//! How the demo's child is broken on purpose, to see that the demo notices.
//!
//! | file | holds |
//! |---|---|
//! | `deliberate` | the faults, only with the feature `deliberate-faults`, which no release has |
//! | `none` | the same interface without faults |

#[cfg(feature = "deliberate-faults")]
mod deliberate;
#[cfg(not(feature = "deliberate-faults"))]
mod none;

#[cfg(feature = "deliberate-faults")]
pub(crate) use deliberate::Faults;
#[cfg(not(feature = "deliberate-faults"))]
pub(crate) use none::Faults;
