//! The state table: the states of one operator on one worker.
//!
//! | file | holds |
//! |---|---|
//! | `states` | all key groups; brings what a batch has to its keys |
//! | `group` | one key group: arrivals |
//! | `visits` | user code runs for keys |
//! | `copied` | the same while the states are asked for |
//! | `kept` | the keys and states of a group: what readers look at |
//! | `held` | the lock around them |
//! | `history` | what keys had before batches that readers do not see yet |
//! | `reading` | the keys and states of a group, as readers have them |
//! | `restored` | keys that wait for their worker |
//! | `settle` | a batch is kept or put back; what a checkpoint takes |
//! | `slots` | where keys and states lie |
//! | `lent` | an entry while user code has its state |
//! | `undo` | what puts a batch back |
//! | `delta` | what has changed since a checkpoint |
//! | `capture` | what a checkpoint takes, copied in small steps |
//! | `bits` | a set of slots |
//! | `timers` | when keys time out |
//! | `block` | a key group as bytes |
//! | `model` | tests against a model |

mod bits;
pub(crate) mod block;
pub(crate) mod capture;
mod copied;
mod delta;
pub(crate) mod group;
mod held;
pub(crate) mod history;
pub(crate) mod kept;
mod lent;
#[cfg(test)]
mod model;
pub(crate) mod reading;
pub(crate) mod restored;
mod settle;
pub(crate) mod slots;
pub(crate) mod states;
mod timers;
mod undo;
pub(crate) mod visits;
