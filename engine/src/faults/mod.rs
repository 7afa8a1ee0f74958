//! Deliberate faults, by which the suite proves that its checks can fail.
//!
//! | file | holds |
//! |---|---|
//! | `deliberate` | the faults, with the feature `deliberate-faults`, which only tests turn on |
//! | `none` | what is built otherwise: nothing can be set |

#[cfg(feature = "deliberate-faults")]
mod deliberate;
#[cfg(not(feature = "deliberate-faults"))]
mod none;

#[cfg(feature = "deliberate-faults")]
pub use deliberate::Cheat;
#[cfg(feature = "deliberate-faults")]
pub(crate) use deliberate::Faults;
#[cfg(not(feature = "deliberate-faults"))]
pub(crate) use none::Faults;
