//! Numbers about an open log.
//!
//! | file | holds |
//! |---|---|
//! | `stats` | counters, and the snapshot users get |
//! | `meters` | the same through the `metrics` facade |
//! | `latency` | a histogram of durations |

pub(crate) mod latency;
pub(crate) mod meters;
pub(crate) mod stats;
