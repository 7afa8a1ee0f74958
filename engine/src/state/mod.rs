//! Keyed state, and the bytes in which it is kept.
//!
//! | file | holds |
//! |---|---|
//! | `table` | the states of one operator, by key group |
//! | `key_group` | which key group a key belongs to |
//! | `restore` | entries of a checkpoint become keys and states again |
//! | `codec` | MessagePack, for state and typed input |
//! | `faithful` | whether a value comes back from the codec as it went in |
//! | `shape` | what a value looks like to a serializer |
//! | `equal_keys` | keys that are equal and serialise differently |

pub(crate) mod codec;
pub(crate) mod equal_keys;
pub(crate) mod faithful;
pub(crate) mod key_group;
pub(crate) mod restore;
pub(crate) mod shape;
pub(crate) mod table;
