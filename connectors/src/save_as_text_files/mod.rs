//! `save_as_text_files`: one file per batch, exactly once. Files of others are never replaced.
//!
//! | file | holds |
//! |---|---|
//! | `sink` | the sink: stages, publishes, and recovers |
//! | `names` | the names of its files, and reading them back |
//! | `marker` | the file that records which log and output own the names |
//! | `opening` | what is found at the start, and whether it is ours |
//! | `rename` | renaming without replacing |
//!
//! | step | on disk afterwards |
//! |---|---|
//! | `open` | the marker, durable |
//! | `stage` | `.<name>.staged`, content and name durable |
//! | the engine logs `committed(batch)` | the same |
//! | `publish` | `<name>`, by a rename that replaces nothing, durable |
//!
//! A full disk is waited for (P8). Only what failed before any sync is tried again: a failed sync
//! is final.
//!
//! A crash leaves staged files. `open` publishes those of committed batches and deletes the others,
//! whose batches run again.
//!
//! Invariant: a published name keeps its content for ever. No call here replaces or removes it.

mod marker;
mod names;
mod opening;
mod rename;
mod sink;
#[cfg(test)]
mod tests;

pub(crate) use sink::TextFileSink;
