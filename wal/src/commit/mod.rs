//! Group commit: what makes appended records durable, and tells those who wait.
//!
//! | file | holds |
//! |---|---|
//! | `sync` | writing and syncing a group; the durable LSN |
//! | `group_commit` | who leads a group, and who waits for its leader |
//! | `flusher` | the thread that syncs for intervals and futures |
//! | `waiters` | futures, tails and watches that wait for the durable LSN |

pub(crate) mod flusher;
#[doc(hidden)]
pub mod group_commit;
pub(crate) mod sync;
pub(crate) mod waiters;
