//! Keyed state, and the bytes in which it is kept.
//!
//! | file | holds |
//! |---|---|
//! | `table` | the states of one operator, by key group |
//! | `key_group` | which key group a key belongs to, and which worker owns it |
//! | `key_hash` | the hash of a key |
//! | `key_hash_v1` | the hash of version 1, for directories of that time |
//! | `restore` | entries of a checkpoint become keys and states again |
//! | `borrowed_key` | keys that are looked up without being owned |
//! | `equal_keys` | keys that are equal and serialise differently, among the first ones |
//! | `twins` | the same, among all keys of a state |
//! | `encoded` | states that the driver keeps: counters, broadcast values, results of batches |
//! | `access` | how update functions see the state of a key |

pub(crate) mod access;
pub(crate) mod borrowed_key;
pub(crate) mod encoded;
pub(crate) mod equal_keys;
pub(crate) mod key_group;
pub(crate) mod key_hash;
mod key_hash_v1;
pub(crate) mod restore;
pub(crate) mod table;
mod twins;
