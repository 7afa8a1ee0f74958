//! The ways to append to an open log.
//!
//! | file | holds |
//! |---|---|
//! | `calls` | the methods of [`Wal`](crate::Wal) that append |
//! | `future` | an append that is awaited |

pub(crate) mod calls;
pub(crate) mod future;
