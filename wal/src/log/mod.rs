//! The open log: what its handle, its readers and its threads share.
//!
//! | file | holds |
//! |---|---|
//! | `shared` | `Shared`, the open log, and appending to it |
//! | `open` | opening: lock, recover, assemble |
//! | `close` | closing |
//! | `truncation` | freeing segments that no guard needs |
//! | `marks` | appending what is said of the log itself: voids, cursors |
//! | `policy` | giving up the oldest segments by age and by bytes |
//! | `room` | waiting for room in a log at its bound |
//! | `stats` | the snapshot of all its numbers |

pub(crate) mod close;
pub(crate) mod marks;
pub(crate) mod open;
pub(crate) mod policy;
pub(crate) mod room;
pub(crate) mod shared;
pub(crate) mod stats;
pub(crate) mod truncation;
