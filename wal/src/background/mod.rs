//! Threads that work for a log: one of its own for each task, or one for a task of all logs.
//!
//! | file | holds |
//! |---|---|
//! | `task` | what such a thread does, one step after the other |
//! | `runner` | a task that is run by a thread |
//! | `shared` | the threads that logs share |
//! | `turn` | tasks that wait for the next segment |

pub(crate) mod runner;
pub(crate) mod shared;
pub(crate) mod task;
pub(crate) mod turn;
