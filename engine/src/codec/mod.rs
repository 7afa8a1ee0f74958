//! Values to bytes and back.
//!
//! | file | holds |
//! |---|---|
//! | `message_pack` | MessagePack, for state and typed input |
//! | `round_trip` | whether a value comes back from the codec as it went in |
//! | `shape` | what a value looks like to a serializer |

pub(crate) mod message_pack;
pub(crate) mod round_trip;
pub(crate) mod shape;
