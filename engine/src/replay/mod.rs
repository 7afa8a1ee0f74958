//! Runs batches of the past again: state from a checkpoint, input from the log, outputs muted.
//! Beside those that run now, for datasets; before them, for workers whose state was lost.
//!
//! | file | holds |
//! |---|---|
//! | `replayer` | results of past batches, for datasets; and workers that are built again |
//! | `executor` | a second executor on the plan, with state of its own |
//! | `origin` | from where a batch can be computed again |

pub(crate) mod executor;
pub(crate) mod origin;
pub(crate) mod replayer;
