//! Named consumers: how far they have come is durable, and keeps the log.
//!
//! A position is a mark in the log ([`crate::marks`]). What a consumer has advanced past is in
//! memory first. The leader of the next group appends it with the group: so it costs no flush. The
//! log is kept from the lowest position on that the cursor could have after a crash
//! ([`crate::retention`]).
//!
//! | file | holds |
//! |---|---|
//! | `handle` | `Cursor`, what a consumer holds |
//! | `calls` | the methods of [`Wal`](crate::Wal), and appending the marks |

pub(crate) mod calls;
pub(crate) mod handle;
