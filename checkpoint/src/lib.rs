#![doc = include_str!("../README.md")]

mod checkpoint;
mod checkpoints;
mod error;
mod inspect;
mod manifest;
mod retention;
mod state_file;
mod store;
mod writer;

pub use checkpoint::{Checkpoint, LogBounds};
pub use checkpoints::{Checkpoints, MIN_RETAIN, Options, Ownership, Retired};
pub use error::{CheckpointError, Result, Skipped};
pub use inspect::{Inspected, Validity};
pub use manifest::document::{
    Batch, BlockEntry, BlockKind, FORMAT_VERSION, FileEntry, MAX_MANIFEST_BYTES, Manifest,
    StateEntry,
};
pub use state_file::{BLOCK_HEADER_LEN, FILE_HEADER_LEN};
pub use store::local::LocalStore;
pub use store::{Store, StoredFile};
pub use writer::{Draft, Meta, Published, StateMeta};
