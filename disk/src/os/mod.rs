//! The operating system's disk.
//!
//! | file | holds |
//! |---|---|
//! | `disk` | `OsDisk`: files and directories |
//! | `map` | append maps of real files |
//! | `populate` | reading pages in before they are touched |
//! | `direct_read` | reading a page past the page cache |
//! | `direct_write` | writing past the page cache |
//! | `interrupted` | calls that a signal interrupts |
//! | `priority` | scheduling priority of the calling thread |

pub(crate) mod direct_read;
pub(crate) mod direct_write;
pub(crate) mod disk;
pub(crate) mod interrupted;
pub(crate) mod map;
pub(crate) mod populate;
pub(crate) mod priority;
