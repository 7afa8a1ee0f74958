//! Numbers about an open log. Nothing here knows the log: its handle assembles the snapshot.
//!
//! | file | holds |
//! |---|---|
//! | `counters` | what the log counts |
//! | `stats` | the snapshot that users get |
//! | `meters` | the same through the `metrics` facade |
//! | `latency` | a histogram of durations |

pub(crate) mod counters;
pub(crate) mod latency;
pub(crate) mod meters;
pub(crate) mod stats;
