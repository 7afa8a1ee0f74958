//! The life of a process with a program in it: signals that end it, failures that start it again.
//!
//! | file | holds |
//! |---|---|
//! | `signals` | SIGTERM and SIGINT, for everything that waits for them |
//! | `supervise` | a program that is started again after a failure |

pub(crate) mod signals;
pub(crate) mod supervise;
