//! The handle of an open log, and what all handles share.
//!
//! | file | holds |
//! |---|---|
//! | `handle` | `Wal`: the public interface |
//! | `shared` | what handles, readers and threads share; appending |
//! | `close` | closing |

pub(crate) mod close;
pub(crate) mod handle;
pub(crate) mod shared;
