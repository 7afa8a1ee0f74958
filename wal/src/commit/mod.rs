//! Group commit: what makes appended records durable, and tells those who wait.
//!
//! | file | holds |
//! |---|---|
//! | `group_commit` | who leads a group, and who waits for its leader |
//! | `state` | the durable LSN, the failure that ended the log, and who waits for them |
//! | `waiters` | the threads and tasks that wait |
//! | `sync` | writing and syncing a group |
//! | `idle` | what the flusher waits for |
//! | `flusher` | the thread that syncs for intervals and futures |
//! | `future` | `Durable` and `DurableWatch` |

pub(crate) mod flusher;
pub(crate) mod future;
#[doc(hidden)]
pub mod group_commit;
pub(crate) mod idle;
pub(crate) mod state;
pub(crate) mod sync;
pub(crate) mod waiters;
