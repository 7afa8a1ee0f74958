//! Checkpoints after batches.
//!
//! | file | holds |
//! |---|---|
//! | `policy` | how often they are taken |
//! | `target` | as rarely as a recovery within a given time allows |
//! | `checkpointer` | when one is taken; hands captures to the thread that writes |
//! | `capture` | what a checkpoint is made of, on its way from the workers |
//! | `copies` | takes in what the workers copy |
//! | `entries` | what has changed of the states that the driver keeps |
//! | `writer` | writes, publishes, retires old ones, truncates the log |
//! | `retained` | the checkpoints that are there |
//! | `metadata` | what the engine adds to a manifest |

pub(crate) mod capture;
pub(crate) mod checkpointer;
pub(crate) mod copies;
pub(crate) mod entries;
pub(crate) mod metadata;
pub(crate) mod policy;
pub(crate) mod retained;
pub(crate) mod target;
pub(crate) mod writer;
