//! The operating system's disk, and what else differs from system to system.
//!
//! | file | holds |
//! |---|---|
//! | `disk` | `OsDisk`: files by name, directories and their locks |
//! | `handle` | what every open file does |
//! | `file_system` | asking which file system a directory lies on |
//! | `flush` | making bytes and names durable |
//! | `size` | how long a file is, may become, and still is |
//! | `append_map` | what all append maps have in common |
//! | `read_through` | reading the pages of a map with `read` |
//! | `write_cache` | whether a device has one |
//! | `priority` | tuning: scheduling priority of the calling thread |
//! | `linux/` | files, maps, waking and devices, as Linux does them |
//! | `portable/` | the same for any Unix |
//!
//! `linux` and `portable` hold the same names; this file says which of them the machine uses. Built
//! with `--cfg highwater_portable`, Linux uses `portable` too, so that the whole suite can run on
//! it.

mod append_map;
pub(crate) mod disk;
mod file_system;
mod flush;
mod handle;
#[cfg(all(target_os = "linux", not(highwater_portable)))]
pub(crate) mod linux;
pub(crate) mod portable;
pub(crate) mod priority;
mod read_through;
mod size;
pub(crate) mod write_cache;

#[cfg(all(target_os = "linux", not(highwater_portable)))]
pub(crate) use linux as native;
#[cfg(not(shuttle))]
pub use native::event_count::EventCount;
#[cfg(not(all(target_os = "linux", not(highwater_portable))))]
pub(crate) use portable as native;
#[cfg(shuttle)]
pub use portable::event_count::EventCount;
