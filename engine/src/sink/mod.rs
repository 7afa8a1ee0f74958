//! Where batches leave the engine.
//!
//! | file | holds |
//! |---|---|
//! | `output` | sinks and what they promise |
//! | `erased` | a sink with its record type erased |
//! | `batch_fn` | a function as a sink |
//! | `patience` | waiting for room on a full disk |

pub(crate) mod batch_fn;
pub(crate) mod erased;
pub(crate) mod output;
pub(crate) mod patience;
