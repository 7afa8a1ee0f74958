//! The bytes on disk: what a frame, a batch and a segment header look like.
//!
//! | file | holds |
//! |---|---|
//! | `layout` | offsets and sizes of format version 1, their only copy |
//! | `frame` | frames: encoding, and checking before anything is believed |
//! | `batch` | the payload of a batch: a count, then each record after its length; the one splitter |
//! | `compression` | of batches: whether it pays, and undoing it |
//! | `codec` | zstd within bounds, or a build without it |

pub(crate) mod batch;
pub(crate) mod codec;
pub(crate) mod compression;
pub(crate) mod frame;
pub mod layout;
