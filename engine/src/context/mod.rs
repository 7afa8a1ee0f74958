//! The life of a program, from recovery to the final checkpoint.
//!
//! | file | holds |
//! |---|---|
//! | `streaming_context` | `StreamingContext` |
//! | `builder` | collects the settings |
//! | `builder_checkpoints` | those of checkpoints |
//! | `core` | what the threads share |
//! | `observers` | who reads the events, and in which order |
//! | `launch` | from what was found on disk to a driver that runs |
//! | `queue` | batches that wait for the driver |
//! | `threads` | receivers, cutter, driver: started |
//! | `thread` | one thread, and waiting for its end |
//! | `stopping` | how a context ends |

pub(crate) mod builder;
mod builder_checkpoints;
pub(crate) mod core;
pub(crate) mod launch;
mod observers;
pub(crate) mod queue;
pub(crate) mod stopping;
pub(crate) mod streaming_context;
pub(crate) mod thread;
pub(crate) mod threads;
