//! What everything shares.
//!
//! | file | holds |
//! |---|---|
//! | `core` | the log, the table, and who waits |
//! | `waiters` | who waits for a stream, and which streams are about to change |
//! | `decision` | what was decided, and is not to be told before it lasts |

pub(crate) mod core;
pub(crate) mod decision;
pub(crate) mod waiters;
