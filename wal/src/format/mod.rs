//! The bytes on disk: what a frame, a batch and a segment header look like.
//!
//! | file | holds |
//! |---|---|
//! | `layout` | offsets and sizes, their only copy |
//! | `frame` | frames: encoding, and checking before anything is believed |
//! | `batch` | the payload of a batch: a count, then each record after its length; the one splitter |
//! | `mark` | frames that say something about the log: what is void, how far consumers have come |
//! | `compression` | of batches: whether it pays, and undoing it |
//! | `codec` | zstd within bounds, or a build without it |

pub(crate) mod batch;
pub(crate) mod codec;
pub(crate) mod compression;
pub(crate) mod frame;
pub mod layout;
pub(crate) mod mark;
