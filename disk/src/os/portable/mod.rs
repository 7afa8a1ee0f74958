//! What any Unix does: through the page cache, without direct I/O, priorities, and knowledge of
//! devices. A platform for development (`docs/guarantees.md`).
//!
//! | file | holds |
//! |---|---|
//! | `file` | an open file |
//! | `append_map` | append maps, whose stores go to the page cache |
//! | `read_map` | maps for reading |
//! | `populate` | faulting pages in: not here |
//! | `event_count` | waking many threads: a condition variable; the model checker runs it too |
//! | `priority` | scheduling priority: not here |
//! | `direct_io` | writing past the page cache: not here |
//! | `device` | the block devices under a directory: not known here |

mod append_map;
pub(crate) mod file;
mod read_map;

#[cfg(any(test, shuttle, highwater_portable, not(target_os = "linux")))]
pub(crate) mod event_count;

#[cfg(any(highwater_portable, not(target_os = "linux")))]
pub(crate) mod device;
#[cfg(any(highwater_portable, not(target_os = "linux")))]
pub(crate) mod direct_io;
#[cfg(any(highwater_portable, not(target_os = "linux")))]
pub(crate) mod populate;
#[cfg(any(highwater_portable, not(target_os = "linux")))]
pub(crate) mod priority;
