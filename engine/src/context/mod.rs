//! The life of a program, from recovery to the final checkpoint.
//!
//! | file | holds |
//! |---|---|
//! | `streaming_context` | `StreamingContext` |
//! | `builder` | collects the settings |
//! | `builder_checkpoints` | those of checkpoints |
//! | `asked_states` | asking for its states |
//! | `savepoint` | copies of a checkpoint in a place of their own |
//! | `dry_run` | a start that is only tried |
//! | `asked_dry_run` | the same, because the environment asks for it |
//! | `beside` | a replay in a directory of its own |
//! | `replay_beside` | new code over the log of another directory, into a new one |
//! | `asked_replay` | the same, because the environment asks for it |
//! | `answer` | how a program answers to what its environment asks for |
//! | `core` | what the threads share |
//! | `intake` | the ways into the log, and the cutter |
//! | `observers` | who reads the events, and in which order |
//! | `meters` | sources and states as metrics |
//! | `launch` | from what was found on disk to a driver that runs |
//! | `queue` | batches that wait for the driver |
//! | `threads` | receivers, cutter, driver: started |
//! | `thread` | one thread, and waiting for its end |
//! | `stopping` | how a context ends |

mod answer;
pub(crate) mod asked_dry_run;
pub(crate) mod asked_replay;
mod asked_states;
pub(crate) mod beside;
pub(crate) mod builder;
mod builder_checkpoints;
pub(crate) mod core;
mod dry_run;
mod intake;
pub(crate) mod launch;
mod meters;
mod observers;
pub(crate) mod queue;
mod replay_beside;
pub(crate) mod savepoint;
pub(crate) mod stopping;
pub(crate) mod streaming_context;
pub(crate) mod thread;
pub(crate) mod threads;
