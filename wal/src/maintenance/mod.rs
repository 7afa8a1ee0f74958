//! What is done beside the commits: segments are made ahead, memory moves along with the log, and
//! progress is written to the control file.
//!
//! | file | holds |
//! |---|---|
//! | `thread` | what a thread does for all three |
//! | `truncate_by_policy` | when the log gives up its oldest segments by itself |
//! | `growth` | how large the next segment is |
//! | `preallocator` | makes the next segment before it is needed |
//! | `pace` | how fast the next segment is zeroed |
//! | `resident_memory` | moves the part of the log that is in memory |
//! | `memory_window` | which part that is |

pub(crate) mod growth;
pub(crate) mod memory_window;
pub(crate) mod pace;
pub(crate) mod preallocator;
pub(crate) mod resident_memory;
pub(crate) mod thread;
pub(crate) mod truncate_by_policy;
