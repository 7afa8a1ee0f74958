//! Values to bytes and back.
//!
//! | file | holds |
//! |---|---|
//! | `message_pack` | MessagePack, for state and typed input |
//! | `noting` | many values, and which of their fields the type does not have |
//! | `defaulted` | which of their fields were not there |
//! | `round_trip` | whether a value comes back from the codec as it went in |
//! | `exact` | types whose values are what is written of them |
//! | `shape` | what a value looks like to a serializer |

pub(crate) mod defaulted;
pub(crate) mod exact;
pub(crate) mod message_pack;
pub(crate) mod noting;
pub(crate) mod round_trip;
pub(crate) mod shape;
