//! Variables that all workers of a program share: counters, which operators add to, and broadcast
//! values, which they read. Both change at the borders of batches only.
//!
//! | file | holds |
//! |---|---|
//! | `counter` | `Counter`: what operators count |
//! | `broadcast` | `Broadcast`: the newest value of a small stream |
//! | `declared` | the variables of a program, and how a batch changes them |
//! | `scope` | what the operators that run on a thread see and add to |
//! | `values` | the values of all variables as of the end of a batch |

pub(crate) mod broadcast;
pub(crate) mod counter;
pub(crate) mod declared;
pub(crate) mod scope;
pub(crate) mod values;
