//! The ways to append to an open log.
//!
//! | file | holds |
//! |---|---|
//! | `attempt` | what they have in common |
//! | `calls` | the methods of [`Wal`](crate::Wal) that append |
//! | `future` | an append that is awaited |

pub(crate) mod attempt;
pub(crate) mod calls;
pub(crate) mod future;
