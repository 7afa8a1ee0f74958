//! What the log tells other programs through crates that a build may leave out.
//!
//! | file | holds |
//! |---|---|
//! | `no_metrics` | without the feature `metrics`: numbers that go nowhere |
//! | `no_tracing` | without the feature `tracing`: events that go nowhere |

#[cfg(not(feature = "metrics"))]
pub(crate) mod no_metrics;
#[cfg(not(feature = "tracing"))]
pub(crate) mod no_tracing;

#[cfg(feature = "metrics")]
pub(crate) use ::metrics;
#[cfg(feature = "tracing")]
pub(crate) use ::tracing;
#[cfg(not(feature = "metrics"))]
pub(crate) use no_metrics as metrics;
#[cfg(not(feature = "tracing"))]
pub(crate) use no_tracing as tracing;
