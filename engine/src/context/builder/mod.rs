//! `Builder`: the settings of a context, and the ways to start one.
//!
//! | file | holds |
//! |---|---|
//! | `build` | collects the settings; `get_or_create` |
//! | `checkpoints` | those of checkpoints |
//! | `dry_run` | a start that is only tried |
//! | `replay_beside` | new code over the log of another directory, into a new one |

pub(crate) mod build;
mod checkpoints;
mod dry_run;
mod replay_beside;
