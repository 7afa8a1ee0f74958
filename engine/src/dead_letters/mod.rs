//! Dead letters: records that were put aside because an operator failed on them, and their replay.
//!
//! | file | holds |
//! |---|---|
//! | `letter` | a dead letter, its identity, its bytes |
//! | `open_letters` | which letters are open: what the records of the store come to |
//! | `store` | the store: a log of its own, beside that of the engine |
//! | `request` | requests to replay letters: files that any process may write |
//! | `replayed` | which frames of the engine's log hold replayed letters |
//! | `outlet` | the way of replayed letters to their operators |
//! | `desk` | puts letters aside, and takes in requests |
//! | `reading` | reads the store without opening it |

pub(crate) mod desk;
pub(crate) mod letter;
mod open_letters;
pub(crate) mod outlet;
pub(crate) mod reading;
mod replayed;
pub(crate) mod request;
pub(crate) mod store;
