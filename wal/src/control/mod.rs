//! The control file `LOG`: the identity, the start and the proven end of a log.
//!
//! | file | holds |
//! |---|---|
//! | `file` | what it says, read and replaced as a whole |
//! | `features` | what a version must know to open the log |
//! | `writer` | who rewrites it while the log is open |

pub(crate) mod features;
pub(crate) mod file;
pub(crate) mod writer;
