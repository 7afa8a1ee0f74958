//! Numbers about an open log. Nothing here knows the log: its handle assembles the snapshot.
//!
//! | file | holds |
//! |---|---|
//! | `counters` | what the log counts |
//! | `stats` | the snapshot that users get |
//! | `meters` | the same through the `metrics` facade |
//! | `catalog` | what each of them says |
//! | `latency` | a histogram of durations, which threads share |
//! | `histogram` | a histogram of numbers; the one bucket arithmetic |

pub(crate) mod catalog;
pub(crate) mod counters;
pub(crate) mod histogram;
pub(crate) mod latency;
pub(crate) mod meters;
pub(crate) mod stats;
