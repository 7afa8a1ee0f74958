//! User code runs for keys.
//!
//! | file | holds |
//! |---|---|
//! | `visit` | which keys are visited, in which order |
//! | `lent` | an entry while user code has its state |
//! | `copied` | visits while the states are asked for |

mod copied;
mod lent;
pub(crate) mod visit;
