//! What the environment of a program may ask for, and a replay in a directory of its own.
//!
//! | file | holds |
//! |---|---|
//! | `asked_dry_run` | a start that is only tried |
//! | `asked_replay` | new code over the log of another directory |
//! | `beside` | a replay in a directory of its own |
//! | `answer` | how a program answers, in a file |

mod answer;
pub(crate) mod asked_dry_run;
pub(crate) mod asked_replay;
pub(crate) mod beside;
