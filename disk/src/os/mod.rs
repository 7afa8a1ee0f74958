//! The operating system's disk.
//!
//! | file | holds |
//! |---|---|
//! | `disk` | `OsDisk`: files by name, directories and their locks |
//! | `file` | an open file |
//! | `size` | how long a file is, may become, and still is |
//! | `read_map` | maps for reading |
//! | `shared_map` | append maps whose stores go to the page cache |
//! | `direct_map` | append maps in memory of the process, written past the page cache |
//! | `append_map` | what both kinds of append maps have in common |
//! | `populate` | reading pages in before they are touched |
//! | `direct_io` | opening and writing files past the page cache |
//! | `direct_read` | reading a page past the page cache |
//! | `priority` | tuning: scheduling priority of the calling thread |

mod append_map;
mod direct_io;
mod direct_map;
mod direct_read;
pub(crate) mod disk;
mod file;
mod populate;
pub(crate) mod priority;
mod read_map;
mod shared_map;
mod size;
