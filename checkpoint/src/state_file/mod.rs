//! The byte layout of state files, its only copy. Little-endian throughout; described in
//! `docs/format/checkpoint.md`.
//!
//! | file | holds |
//! |---|---|
//! | `header` | the beginning of a file, the same in every version |
//! | `block` | what a block holds: fields, compression, checksum |
//! | `columns/` | a payload by columns: names of fields once, values of each field together |
//! | `build` | a file that is being filled |
//! | `index` | where the blocks are: the end of a file |
//! | `v1` | blocks of version 1, which have a header each |

pub(crate) mod block;
pub(crate) mod build;
pub(crate) mod columns;
pub(crate) mod header;
pub(crate) mod index;
pub(crate) mod v1;
