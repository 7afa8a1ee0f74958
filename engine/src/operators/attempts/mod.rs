//! Closures that may fail on one record without failing the batch.
//!
//! | file | holds |
//! |---|---|
//! | `on_error` | what a stream does with records that fail |
//! | `attempt` | calls a closure for a record, and refuses the record if it fails |

pub(crate) mod attempt;
pub(crate) mod on_error;
