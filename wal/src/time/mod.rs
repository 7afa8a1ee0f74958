//! Wall-clock time in the log.
//!
//! The durable-LSN record of each group says when it was written: everything below its position was
//! durable then. Such times never fall along the log. They are for people, for reading from a time
//! on, and for retention by age. Nothing else depends on them.
//!
//! | file | holds |
//! |---|---|
//! | `log_time` | the time that the log writes down: anchored to the wall clock, then monotonic |
//! | `unix` | times as the log has them |

pub(crate) mod log_time;
pub(crate) mod unix;
