//! Start: what disk holds, checked against the program.
//!
//! | file | holds |
//! |---|---|
//! | `recover` | newest valid checkpoint, then the log after it |
//! | `states` | which state of the checkpoint belongs to which operator |
//! | `sources` | which stream of the log belongs to which source |
//! | `report` | what was found, for users |

pub(crate) mod recover;
pub(crate) mod report;
pub(crate) mod sources;
pub(crate) mod states;
