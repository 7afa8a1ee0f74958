//! The keys and states of a group: its worker changes them, and readers look at them.
//!
//! | file | holds |
//! |---|---|
//! | `kept` | keys and states, what puts a batch back, and what readers see |
//! | `history` | what keys had before batches that readers do not see yet |
//! | `held` | the lock around them |
//! | `reading` | a group as readers have it |

pub(in crate::state::table) mod held;
pub(crate) mod history;
pub(crate) mod kept;
pub(crate) mod reading;
