//! Where batches leave the engine.
//!
//! | file | holds |
//! |---|---|
//! | `output` | sinks and their two-step commit |
//! | `patience` | waiting for room on a full disk |

pub(crate) mod output;
pub(crate) mod patience;
