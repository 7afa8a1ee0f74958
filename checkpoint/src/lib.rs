#![doc = include_str!("../README.md")]
//!
//! # Files
//!
//! | file | holds |
//! |---|---|
//! | `checkpoints` | the checkpoints of a store, opened for writing |
//! | `catalog` | what this process knows about them |
//! | `writing/` | a checkpoint that is being written |
//! | `checkpoint` | a checkpoint that is read |
//! | `reading/` | its files, read with few requests |
//! | `copy` | a checkpoint written anew, in another place |
//! | `inspect` | looking at checkpoints without touching them |
//! | `manifest/` | what a checkpoint consists of |
//! | `chains` | the blocks that a checkpoint consists of |
//! | `merge` | several blocks of a key group as one |
//! | `entries` | what the payload of a block is |
//! | `state_file/` | the byte layout of state files |
//! | `store/` | the place where checkpoints are kept |
//! | `retention/` | removing what is no longer needed |
//! | `offline/` | comparing, checking and copying checkpoints of a store without writing into it |
//! | `testing/` | stores for tests: one in memory, one that fails |
//! | `format`, `hex`, `options`, `error` | versions and limits; numbers in JSON; settings; errors |

mod catalog;
mod chains;
mod checkpoint;
mod checkpoints;
mod copy;
pub mod entries;
mod error;
mod format;
mod hex;
mod inspect;
mod manifest;
mod merge;
mod offline;
mod options;
mod reading;
mod retention;
mod state_file;
mod store;
pub mod testing;
mod writing;

/// The object stores that a [`RemoteStore`] can be made around.
#[cfg(feature = "remote")]
pub use object_store;

pub use checkpoint::{Checkpoint, GroupEntries, LogBounds, StoredGroup};
pub use checkpoints::Checkpoints;
pub use error::{CheckpointError, Result, Skipped};
pub use format::{BLOCK_HEADER_LEN, FILE_HEADER_LEN, FORMAT_VERSION, MAX_MANIFEST_BYTES};
pub use inspect::{Inspected, Validity};
pub use manifest::document::{Batch, BlockEntry, BlockKind, FileEntry, Manifest, StateEntry};
pub use offline::audit::{Audit, Audited, Finding, Leftover, LeftoverKind, audit};
pub use offline::compare::{Change, Comparison, Difference, StateDifference};
pub use offline::copy::{Copied, copy_checkpoints};
pub use offline::meaning::{AsBytes, Meaning, Pair};
pub use offline::pruning::Pruning;
pub use offline::without::{Without, copy_without};
pub use options::{Layout, MIN_RETAIN, Options, Ownership};
pub use retention::retire::Retired;
pub use store::error::StoreError;
pub use store::local::LocalStore;
#[cfg(feature = "remote")]
pub use store::object::{calls::CallLimits, remote::RemoteStore};
pub use store::reading::Reading;
pub use store::url::{UrlError, open_url};
pub use store::{Store, StoredFile};
pub use writing::meta::{GroupBlock, Meta, Published, StateMeta};
pub use writing::writer::CheckpointWriter;
