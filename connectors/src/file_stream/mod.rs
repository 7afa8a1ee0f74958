//! `file_stream`: the lines of files that are moved into a directory, with any decoder; copied into
//! the log, or read where they are.
//!
//! | file | holds |
//! |---|---|
//! | `input` | what a program says of the files: decoder, policy, copy or not |
//! | `by_offset` | the source that reads files where they are |
//! | `item` | the name of a file's version among the source's items |
//! | `cutting` | how a file is cut into ranges |
//! | `reading` | the lines of a range |

mod by_offset;
mod cutting;
mod input;
mod item;
mod reading;

pub(crate) use by_offset::FilesByOffset;
pub(crate) use input::Decode;
pub use input::FileInput;
pub(crate) use item::is_wanted;
