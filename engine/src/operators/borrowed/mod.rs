//! Pairs whose keys are borrowed.
//!
//! | file | holds |
//! |---|---|
//! | `key_by_ref` | pairs of a borrowed key and a value, combined chunk by chunk |
//! | `reduced` | one total for each borrowed key, and a state that follows from it |
//! | `chunk_totals` | what a chunk adds up to for each borrowed key |

pub(crate) mod chunk_totals;
pub(crate) mod key_by_ref;
pub(crate) mod reduced;
