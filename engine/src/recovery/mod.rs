//! Start: what disk holds, checked against the program.
//!
//! | file | holds |
//! |---|---|
//! | `stores` | opens the log and the checkpoints |
//! | `origin` | a log that begins with a checkpoint of another one |
//! | `metadata` | what the engine has written into a manifest |
//! | `recover` | newest valid checkpoint, then the log after it |
//! | `states` | which state of the checkpoint belongs to which operator |
//! | `load` | reads the key groups of the states, on several threads |
//! | `sources` | which stream of the log belongs to which source |
//! | `outputs` | what a crash left between committing a batch and publishing it |
//! | `report` | what was found, for users |

mod load;
pub(crate) mod metadata;
mod origin;
pub(crate) mod outputs;
pub(crate) mod recover;
pub(crate) mod report;
pub(crate) mod sources;
pub(crate) mod states;
mod stores;
