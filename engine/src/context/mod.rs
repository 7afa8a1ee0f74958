//! The life of a program, from recovery to the final checkpoint.
//!
//! | file | holds |
//! |---|---|
//! | `streaming_context` | `StreamingContext` |
//! | `builder` | its settings |
//! | `threads` | receivers, cutter, driver: started and stopped |
//! | `stopping` | how a context ends |
//! | `latch` | waiting for a thread to end |
//! | `own_thread` | whether the caller is a thread of the context |

pub(crate) mod builder;
pub(crate) mod latch;
pub(crate) mod own_thread;
pub(crate) mod stopping;
pub(crate) mod streaming_context;
pub(crate) mod threads;
