//! The control file `LOG`: the identity, the start and the proven end of a log.
//!
//! | file | holds |
//! |---|---|
//! | `file` | what it says, read and replaced as a whole |
//! | `writer` | who rewrites it while the log is open |

pub(crate) mod file;
pub(crate) mod writer;
