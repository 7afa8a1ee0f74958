//! Start: what disk holds, checked against the program.
//!
//! | file | holds |
//! |---|---|
//! | `recover` | newest valid checkpoint, then the log after it |
//! | `replay` | what the log says happened since |
//! | `states` | which state of the checkpoint belongs to which operator |
//! | `sources` | which stream of the log belongs to which source |
//! | `changes` | renames, drops and conversions that the code asks for |
//! | `report` | what was found, for users |

pub(crate) mod changes;
pub(crate) mod recover;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod sources;
pub(crate) mod states;
