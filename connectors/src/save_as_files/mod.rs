//! `save_as_files`: files of every batch, exactly once. Files of others are never replaced.
//!
//! | file | holds |
//! |---|---|
//! | `sink` | the sink: stages, publishes, and recovers |
//! | `files` | which files a program asks for |
//! | `format` | how records are written: text, NDJSON, CSV |
//! | `names` | the names of its files, and reading them back |
//! | `token` | what the log holds of a staged file |
//! | `pieces` | writing a file in pieces, and what it holds |
//! | `marker` | the file that records which log and output own the names |
//! | `opening` | what is found at the start, and whether it is ours |
//! | `small_files` | a warning of many small files |
//! | `rename` | renaming without replacing |
//!
//! | step | on disk afterwards |
//! |---|---|
//! | `open` | the marker, durable |
//! | `stage` | `.<name>.staged`, content and name durable |
//! | the engine logs `committed(batch)` with the name, length and hash of each file | the same |
//! | `publish` | `<name>`, by a rename that replaces nothing, durable |
//!
//! A sync that failed is final. Whatever else fails is tried again: the batch waits (P8).
//!
//! A crash leaves staged files. Those that the log lists are published, and it is an error if one
//! of them is not there. `open` deletes those of batches that were not committed, which run again.
//!
//! Invariant: a published name keeps its content for ever. No call here replaces or removes it.

mod files;
mod format;
mod marker;
mod names;
mod opening;
mod pieces;
mod rename;
mod sink;
mod small_files;
#[cfg(test)]
mod tests;
mod token;

pub use files::Files;
pub use format::{Csv, FileFormat, Ndjson, Text, TextRecord};
pub(crate) use sink::FileSink;
