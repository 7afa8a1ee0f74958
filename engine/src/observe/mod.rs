//! What others can see of a running context.
//!
//! | file | holds |
//! |---|---|
//! | `event` | the events of a context, which every observer reads |
//! | `status` | its state and progress |
//! | `failed_attempt` | an attempt at a batch that failed |
//! | `checkpoints` | the checkpoints of this run |
//! | `recent` | the newest batches, checkpoints and errors |
//! | `refused` | how many records were refused |
//! | `delays` | how long batches wait for their turn |
//! | `states` | how many keys the states have |
//! | `recovering/` | what a recovery would have to do |
//! | `exported/` | events as metrics |
//! | `advice` | warnings about checkpoints that do not fit, and about hot keys |
//! | `hot_key` | a key that has most of the values of a batch |
//! | `throttle` | a bound on warnings that outsiders can cause |

pub(crate) mod advice;
pub(crate) mod checkpoints;
pub(crate) mod delays;
pub(crate) mod event;
pub(crate) mod exported;
pub(crate) mod failed_attempt;
pub(crate) mod hot_key;
pub(crate) mod recent;
pub(crate) mod recovering;
pub(crate) mod refused;
pub(crate) mod states;
pub(crate) mod status;
pub(crate) mod throttle;
