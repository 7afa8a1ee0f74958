//! Removing what is no longer needed.
//!
//! | file | holds |
//! |---|---|
//! | `retire` | removing old checkpoints, and how far the log may be truncated |
//! | `losses` | files that another program has removed |
//! | `garbage` | what crashed attempts leave, and when it may go |

pub(crate) mod garbage;
pub(crate) mod losses;
pub(crate) mod retire;
