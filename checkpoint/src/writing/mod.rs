//! A checkpoint that is being written.
//!
//! | file | holds |
//! |---|---|
//! | `writer` | the checkpoint: what it has, and how it is published |
//! | `meta` | what a checkpoint is taken of |
//! | `packer` | its blocks, and the files that they are packed into |
//! | `compaction` | which blocks are put together, and which files emptied |
//! | `publication` | the manifest is written, last and once |
//! | `put` | creating a file |

pub(crate) mod compaction;
pub(crate) mod meta;
pub(crate) mod packer;
pub(crate) mod publication;
pub(crate) mod put;
pub(crate) mod writer;
