//! Writing what is intact into a new log.
//!
//! | file | holds |
//! |---|---|
//! | `repair` | everything before the first damage, at the same LSNs |
//! | `salvage` | every intact frame, at new LSNs |
//! | `lost` | what is lost, and what both commands have in common |

pub(crate) mod lost;
pub(crate) mod repair;
pub(crate) mod salvage;
