//! Keyed state, and the bytes in which it is kept.
//!
//! | file | holds |
//! |---|---|
//! | `table` | the states of one operator, by key group |
//! | `key_group` | which key group a key belongs to |
//! | `restore` | entries of a checkpoint become keys and states again |
//! | `equal_keys` | keys that are equal and serialise differently |

pub(crate) mod equal_keys;
pub(crate) mod key_group;
pub(crate) mod restore;
pub(crate) mod table;
