//! Checkpoints after batches.
//!
//! | file | holds |
//! |---|---|
//! | `checkpointer` | when one is taken; hands captures to the thread that writes |
//! | `writer` | writes, publishes, retires old ones, truncates the log |
//! | `retained` | the checkpoints that are there |
//! | `metadata` | what the engine adds to a manifest |

pub(crate) mod checkpointer;
pub(crate) mod metadata;
pub(crate) mod retained;
pub(crate) mod writer;
