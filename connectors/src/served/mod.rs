//! `served` and `served_records`: named streams of the same process, read by offset.
//!
//! | file | holds |
//! |---|---|
//! | `source` | the source |
//! | `record` | a record of a stream, as the pipeline carries it |

mod record;
mod source;

pub use record::ServedRecord;
pub(crate) use source::Messages;
pub use source::Served;
