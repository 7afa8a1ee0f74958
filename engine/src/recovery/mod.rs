//! Start: what disk holds, checked against the program.
//!
//! | file | holds |
//! |---|---|
//! | `stores` | opens the log and the checkpoints |
//! | `origin` | a log that begins with a checkpoint of another one |
//! | `metadata` | what the engine has written into a manifest |
//! | `recover` | the first half of a start: what was found, ready to run |
//! | `found` | newest valid checkpoint, then the log after it, checked; nothing is written |
//! | `compared` | what was found beside the program, for people |
//! | `dry_run` | the same without a start |
//! | `beside` | a checkpoint of a directory, and its log from there on, copied for a replay |
//! | `states` | which state of the checkpoint belongs to which operator |
//! | `load` | reads the key groups of the states, on several threads |
//! | `sources` | which stream of the log belongs to which source |
//! | `outputs` | what a crash left between committing a batch and publishing it |
//! | `report` | what was found, for users |

pub(crate) mod beside;
mod compared;
pub(crate) mod dry_run;
pub(crate) mod found;
mod load;
pub(crate) mod metadata;
mod origin;
pub(crate) mod outputs;
pub(crate) mod recover;
pub(crate) mod report;
pub(crate) mod sources;
pub(crate) mod states;
mod stores;
