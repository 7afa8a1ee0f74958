//! What Linux does better than any Unix.
//!
//! | file | holds |
//! |---|---|
//! | `file` | an open file |
//! | `read_map` | maps for reading |
//! | `shared_map` | append maps whose stores go to the page cache |
//! | `direct_map` | append maps in memory of the process, written past the page cache |
//! | `populate` | reading pages in before they are touched |
//! | `direct_io` | opening and writing files past the page cache |
//! | `direct_read` | reading a page past the page cache |
//! | `event_count` | waking many threads: a futex |
//! | `priority` | scheduling priority of the calling thread |
//! | `device` | the block devices under a directory |

pub(crate) mod device;
pub(crate) mod direct_io;
mod direct_map;
mod direct_read;
#[cfg(not(shuttle))]
pub(crate) mod event_count;
pub(crate) mod file;
pub(crate) mod populate;
pub(crate) mod priority;
mod read_map;
mod shared_map;
