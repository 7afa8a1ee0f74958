//! Where batches leave the engine.
//!
//! | file | holds |
//! |---|---|
//! | `output` | sinks and what they promise |
//! | `staged` | sinks whose batches are staged in parts |
//! | `part` | a part of a batch: its place, its records, its token |
//! | `erased` | a sink with its record type erased |
//! | `shares` | a batch in hand: cut into shares, staged, tried again |
//! | `batch_fn` | a function as a sink |
//! | `partition_fn` | a function that is called with every partition, as a sink |
//! | `sink_error` | an error that no other attempt will cure |
//! | `retry` | how often, and after what waits, a sink is tried again |
//! | `backoff` | waiting, unless the context stops |
//! | `status` | what the outputs are doing |

pub(crate) mod backoff;
pub(crate) mod batch_fn;
pub(crate) mod erased;
pub(crate) mod output;
pub(crate) mod part;
pub(crate) mod partition_fn;
pub(crate) mod retry;
pub(crate) mod shares;
pub(crate) mod sink_error;
pub(crate) mod staged;
pub(crate) mod status;
