//! Reading from a time on ([`crate::time`]).
//!
//! | file | holds |
//! |---|---|
//! | `calls` | the methods of [`Wal`](crate::Wal) about time |
//! | `search` | the position of a time, and the time of a position |

pub(crate) mod calls;
pub(crate) mod search;
