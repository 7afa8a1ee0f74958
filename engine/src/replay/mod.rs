//! Runs batches of the past again, beside those that run now: state from a checkpoint, input from
//! the log, outputs muted.
//!
//! | file | holds |
//! |---|---|
//! | `replayer` | results of past batches, for datasets |
//! | `executor` | a second executor on the plan, with state of its own |
//! | `origin` | from where a batch can be computed again |

pub(crate) mod executor;
pub(crate) mod origin;
pub(crate) mod replayer;
