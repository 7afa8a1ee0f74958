//! Records that an operator refuses: their closure failed, and the batch goes on without them.
//!
//! | file | holds |
//! |---|---|
//! | `policy` | what becomes of a record that fails |
//! | `place` | where an input of an operator comes from: its identity |
//! | `noted` | a record that was refused while a batch ran, and how many may be |
//! | `refusals` | what a run of a batch does with records that fail |
//! | `lists` | what of it the log keeps, so that every rebuild leaves out the same records |

pub(crate) mod lists;
pub(crate) mod noted;
pub(crate) mod place;
pub(crate) mod policy;
pub(crate) mod refusals;
