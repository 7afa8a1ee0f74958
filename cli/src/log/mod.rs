//! `highwater log`: looks into a log, writes what is intact into a new one, judges disks.
//!
//! The reading commands use [`highwater::wal::inspect`], which never writes and takes no lock.
//!
//! | file | holds |
//! |---|---|
//! | `open` | finding and opening a log |
//! | `damage` | damage in a log, for JSON and for people |
//! | `list`, `stats`, `verify` | the commands of that name |
//! | `dump/` | printing the records |
//! | `recover/` | writing what is intact into a new log |
//! | `measure/` | judging and measuring a disk |
//! | `progress` | a progress bar |

mod damage;
mod dump;
mod list;
mod measure;
mod open;
mod progress;
mod recover;
mod stats;
mod verify;

pub(crate) use dump::command::dump;
pub(crate) use list::list;
pub(crate) use measure::bench::bench;
pub(crate) use measure::selftest::selftest;
pub(crate) use recover::repair::repair;
pub(crate) use recover::salvage::salvage;
pub(crate) use stats::stats;
pub(crate) use verify::verify;
