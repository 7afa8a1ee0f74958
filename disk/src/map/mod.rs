//! Maps of files, for appending and for reading.
//!
//! | file | holds |
//! |---|---|
//! | `append` | a mapped file to which many threads append without a lock |
//! | `cursor` | which bytes of it are handed out, and which are filled |
//! | `read` | a file mapped for reading |
//! | `backing` | the file or memory behind an append map |
//! | `sync` | the primitives of the lock-free core |

pub(crate) mod append;
pub(crate) mod backing;
pub(crate) mod cursor;
pub(crate) mod read;
#[doc(hidden)]
pub mod sync;
