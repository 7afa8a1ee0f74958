//! Opening a log: what is found there, and the table by which that is decided.
//!
//! | file | holds |
//! |---|---|
//! | `cases` | the decision tables, and what opening found |
//! | `open` | the procedure |
//! | `end` | where the log ends |
//! | `fitness` | whether the file system can keep the promises |
//!
//! # Definitions
//!
//! A *frame* is good if both its checksums are right for its place. They cover the log's random id
//! and the LSN. So bytes of another log, of another place, or of an earlier use of a recycled file
//! are no frames.
//!
//! *x* is the first place without a good frame, reading forward from the start of the log.
//!
//! A position is *proven durable* if everything below it was durable when the proof was written.
//! Three things prove it: a good durable-LSN record, a good close frame, and the file `LOG`. A good
//! record after the bad one proves nothing, because un-synced pages reach the disk in any order.
//!
//! # The table: the end of the log
//!
//! | at x | good frames after x | proven durable | label | physical cause | what is done |
//! |---|---|---|---|---|---|
//! | - | - | - | [`Case::Created`] | no `LOG`, no records: a new directory, or creation was cut short | a new log |
//! | zeros or stale bytes, after a close frame | none | ≤ x | [`Case::CleanEnd`] | closed cleanly | go on at x |
//! | zeros | none | ≤ x | [`Case::OpenEnd`] | killed, or power cut between writes | rewrite, go on at x |
//! | bytes of no frame of this place | none | ≤ x | [`Case::StaleBytes`] | a recycled file; or sectors of a frame without its header | rewrite, go on at x |
//! | anything | some | ≤ x | [`Case::TornTail`] | power cut: only some un-synced sectors were kept | rewrite, erase, go on at x |
//! | a header without its payload | none | ≤ x | [`Case::TornTail`] | power cut: only some un-synced sectors were kept | rewrite, erase, go on at x |
//! | anything | any | > x | [`Finding::CorruptProven`] | bytes that were durable are gone: bit rot, a lost or misdirected write | error, nothing is changed |
//!
//! The rows are data (`cases.rs`), and the code decides by them.
//!
//! # The table: files
//!
//! | what is found | label | physical cause |
//! |---|---|---|
//! | bases do not join, or the last segment is sealed | [`Finding::MissingSegment`] | a file was deleted: names are durable before they are used |
//! | a header with another log id | [`Finding::ForeignSegment`] | a file copied from another log |
//! | a header with another base than the name | [`Finding::SwappedSegment`] | files renamed or copied over each other |
//! | a file shorter than its header says | [`Finding::ShortSegment`] | the file was cut: segments are whole before they are named |
//! | a file longer than its header says | [`Finding::LongSegment`] | another program appended to it |
//! | no readable header | [`Finding::DamagedHeader`] | bit rot: headers are synced before the file is named |
//! | `LOG` not readable | [`Finding::DamagedControlFile`] | bit rot: it is replaced atomically |
//! | records but no `LOG` | [`Finding::MissingControlFile`] | a file was deleted |
//! | an intact frame of an unknown kind or with unknown flags | [`Finding::UnknownFeature`] | a newer version wrote it, or one with the feature `zstd` where this build has not |
//! | a newer format version in `LOG` or a header | [`WalError::NewerFormat`] | a newer version wrote it |
//! | a segment below `first_lsn` | removed | truncation was cut short |
//! | `*.wal.tmp` | removed | making a segment was cut short |
//! | any other name | reported in [`Recovery::ignored`] | not ours |
//!
//! # Then, before anything is shown
//!
//! 1. Good headers after x, and the bytes at x, are overwritten with zeros. New frames will
//!    surround them, and none of them may count then.
//! 2. The good frames that nothing proves durable are written again, byte for byte. After a failed
//!    sync the page cache holds bytes that the disk does not, marked clean. Only a new write makes
//!    the next sync carry them.
//! 3. Both are synced.
//! 4. `LOG` and the names of prepared segments are made anew, and the directory is synced. A name
//!    that is seen need not be durable: after a failed sync of the directory, another sync may save
//!    nothing.
//! 5. Only now is x published as the durable frontier. The first new frame is a durable-LSN record
//!    that says so.
//!
//! Every step leads to the same x when it is cut short and begun again.
//!
//! Reading starts where `LOG` proves that everything before is durable. `LOG` is renewed every
//! 4 MiB, so the time to open does not grow with the log. If `LOG` proves less, reading starts at
//! the last segment that holds a frame. It goes back by segments until the frames read prove the
//! base of the first. Damage before that place is found when it is read, or by
//! [`inspect::Log::verify`](crate::inspect::Log::verify). If `LOG` says that the log was closed,
//! its close frame must stand there.
//!
//! After x, good headers are searched for up to the *reach* in `LOG`, or to the end of the log if
//! it states none. With direct writes everything is durable before the next write begins. A write
//! is at most 2 MiB long, and x is at most one frame before the place where the last write began.
//! So the reach is 2 MiB and the largest frame. Through the page cache un-synced pages reach the
//! disk in any order, and the reach is the rest of the log.
//!
//! [`Finding::CorruptProven`]: crate::Finding::CorruptProven
//! [`Finding::MissingSegment`]: crate::Finding::MissingSegment
//! [`Finding::ForeignSegment`]: crate::Finding::ForeignSegment
//! [`Finding::SwappedSegment`]: crate::Finding::SwappedSegment
//! [`Finding::ShortSegment`]: crate::Finding::ShortSegment
//! [`Finding::LongSegment`]: crate::Finding::LongSegment
//! [`Finding::DamagedHeader`]: crate::Finding::DamagedHeader
//! [`Finding::DamagedControlFile`]: crate::Finding::DamagedControlFile
//! [`Finding::MissingControlFile`]: crate::Finding::MissingControlFile
//! [`Finding::UnknownFeature`]: crate::Finding::UnknownFeature
//! [`WalError::NewerFormat`]: crate::WalError::NewerFormat

pub(crate) mod cases;
pub(crate) mod end;
pub(crate) mod fitness;
pub(crate) mod open;

pub use cases::{Case, Recovery};
