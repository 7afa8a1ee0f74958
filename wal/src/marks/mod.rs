//! What the marks of the log say: which records were taken back, and how far consumers have come.
//!
//! A mark is a frame ([`Mark`](crate::format::mark::Mark)). It counts once it is durable. The
//! control file holds what all marks below its durable LSN say, so opening reads only those after
//! it. Every mark that still matters also lies in a segment that is kept: it comes after the
//! records that it speaks of. So the control file can be made anew from the segments.
//!
//! | file | holds |
//! |---|---|
//! | `voids` | ranges of the log whose records were taken back |
//! | `set` | what all marks up to a place say |
//! | `live` | the marks of an open log, durable or not |

pub(crate) mod live;
pub(crate) mod set;
pub(crate) mod voids;
