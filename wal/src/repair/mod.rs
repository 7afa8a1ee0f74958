//! A new log from another one: the recovery tools for a damaged one, and copies. Nothing here
//! changes the old log.
//!
//! | file | holds |
//! |---|---|
//! | `repair` | a new log of everything before the first damage, at the same LSNs |
//! | `salvage` | a new log of everything intact, around the holes |
//! | `copy` | a new log of everything from a position on, of an intact one that may be in use |
//! | `backup` | a copy of a log that may be in use, under its name only when it is whole |
//! | `plan` | what repair would keep and lose, without writing |
//! | `source` | the files of a damaged log, as far as they can be recognised |
//! | `scan` | every intact frame in order, and every hole between them |
//! | `lost` | what is gone |
//! | `marks` | what is void, and how far consumers have come |
//! | `rebuild` | writing the new log |
//!
//! Their public names are in [`crate::inspect`].

pub(crate) mod backup;
pub(crate) mod copy;
pub(crate) mod lost;
pub(crate) mod marks;
pub(crate) mod plan;
pub(crate) mod rebuild;
#[expect(
    clippy::module_inception,
    reason = "the folder is named after its first tool"
)]
pub(crate) mod repair;
pub(crate) mod salvage;
pub(crate) mod scan;
pub(crate) mod source;
