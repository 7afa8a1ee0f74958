//! Where batches leave the engine.
//!
//! | file | holds |
//! |---|---|
//! | `output` | sinks and what they promise |
//! | `erased` | a sink with its record type erased |
//! | `batch_fn` | a function as a sink |
//! | `backoff` | waiting for room on a full disk |

pub(crate) mod backoff;
pub(crate) mod batch_fn;
pub(crate) mod erased;
pub(crate) mod output;
