//! How much of the log is kept, and how much disk space it may take. Nothing here knows segments
//! or the log.
//!
//! | file | holds |
//! |---|---|
//! | `cursors` | named consumers: how far each is known to be durable |
//! | `guard` | guards: from which position on the log is kept |
//! | `budget` | the bound on disk space |
//! | `room` | waiting for room in a log at its bound |

pub(crate) mod budget;
pub(crate) mod cursors;
pub(crate) mod guard;
pub(crate) mod room;
