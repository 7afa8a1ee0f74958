//! How much of the log is kept.
//!
//! | file | holds |
//! |---|---|
//! | `truncation` | guards, and freeing what no guard needs |
//! | `budget` | the bound on disk space |
//! | `room` | waiting for room in a log at its bound |

pub(crate) mod budget;
pub(crate) mod room;
pub(crate) mod truncation;
