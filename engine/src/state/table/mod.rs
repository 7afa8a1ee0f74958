//! The state table: the states of one operator on one worker.
//!
//! | file | holds |
//! |---|---|
//! | `states` | all key groups; brings what a batch has to its keys |
//! | `group` | one key group: arrivals and visits |
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
mod delta;
pub(crate) mod group;
mod lent;
#[cfg(test)]
mod model;
mod settle;
pub(crate) mod slots;
pub(crate) mod states;
mod timers;
mod undo;
