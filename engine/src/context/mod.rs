//! The life of a program, from recovery to the final checkpoint.
//!
//! | file | holds |
//! |---|---|
//! | `streaming_context` | `StreamingContext` |
//! | `builder/` | collects the settings, and starts |
//! | `tried/` | what the environment asks for: dry runs, replays beside |
//! | `asked_states` | asking for its states |
//! | `savepoint` | copies of a checkpoint in a place of their own |
//! | `core` | what the threads share |
//! | `intake` | the ways into the log, and the cutter |
//! | `observer` | what can be seen of a context |
//! | `observers` | who reads the events, and in which order |
//! | `meters` | sources and states as metrics |
//! | `launch` | from what was found on disk to a driver that runs |
//! | `queue` | batches that wait for the driver |
//! | `threads` | receivers, cutter, driver: started |
//! | `thread` | one thread, and waiting for its end |
//! | `stopping` | how a context ends |

mod asked_states;
pub(crate) mod builder;
pub(crate) mod core;
mod intake;
pub(crate) mod launch;
mod meters;
pub(crate) mod observer;
mod observers;
pub(crate) mod queue;
pub(crate) mod savepoint;
pub(crate) mod stopping;
pub(crate) mod streaming_context;
pub(crate) mod thread;
pub(crate) mod threads;
pub(crate) mod tried;
