//! The state table: the states of one operator on one worker.
//!
//! | file | holds |
//! |---|---|
//! | `states` | all key groups; brings what a batch has to its keys |
//! | `group` | one key group: arrivals |
//! | `restored` | keys that wait for their worker |
//! | `visits/` | user code runs for keys |
//! | `shared/` | the keys and states of a group, as readers look at them too |
//! | `settle` | a batch is kept or put back; what a checkpoint takes |
//! | `slots` | where keys and states lie |
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
mod delta;
pub(crate) mod group;
#[cfg(test)]
mod model;
pub(crate) mod restored;
mod settle;
pub(crate) mod shared;
pub(crate) mod slots;
pub(crate) mod states;
mod timers;
mod undo;
pub(crate) mod visits;
