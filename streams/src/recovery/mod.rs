//! The start.
//!
//! | file | holds |
//! |---|---|
//! | `recover` | the table as the frames of the log say |
//! | `snapshot` | checkpoints of the table |
//! | `entry` | a stream in a checkpoint |

pub(crate) mod entry;
pub(crate) mod recover;
pub(crate) mod snapshot;
