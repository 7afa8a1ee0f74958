//! Crash tests of a user's own program: the power is cut before every operation of the disk.
//!
//! | file | holds |
//! |---|---|
//! | `run` | `CrashTest` and `crash_test`: which cuts are made |
//! | `life` | one run of a closure on a disk, to its end or to the cut |
//! | `report` | what a crash test has tried, or what has failed |
//! | `cut` | which cut it is, in words that can be pasted |

mod cut;
mod life;
mod report;
mod run;

pub use report::{CrashFailure, CrashReport};
pub use run::{CrashTest, crash_test};
