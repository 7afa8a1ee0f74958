#![doc = include_str!("../README.md")]

mod checkpoint;
mod checkpoints;
mod draft;
mod error;
mod garbage;
mod hex;
mod inspect;
mod local;
mod losses;
mod manifest;
mod names;
mod state_file;
mod store;

pub use checkpoint::{Checkpoint, LogBounds};
pub use checkpoints::{Checkpoints, MIN_RETAIN, Options, Ownership, Retired};
pub use draft::{Draft, Meta, Published, StateMeta};
pub use error::{CheckpointError, Result, Skipped};
pub use inspect::{Inspected, Validity};
pub use local::LocalStore;
pub use manifest::{
    Batch, BlockEntry, BlockKind, FORMAT_VERSION, FileEntry, MAX_MANIFEST_BYTES, Manifest,
    StateEntry,
};
pub use state_file::{BLOCK_HEADER_LEN, FILE_HEADER_LEN};
pub use store::{Store, StoredFile};
