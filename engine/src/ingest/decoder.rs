//! The bytes of a record, as what its stream carries.

use crate::error::Result;
use crate::panics::panic_message;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Turns the bytes of a record into what the stream carries. A value that keeps a slice of the
/// bytes keeps its whole segment of the log mapped, and a truncated one on the disk. What may live
/// longer than its batch should copy them.
pub type Decoder<T> = Arc<dyn Fn(Bytes) -> Result<T, String> + Send + Sync>;

/// A decoder as a check, for records that are not needed decoded yet.
pub(crate) fn checking<T: 'static>(decode: Decoder<T>) -> RecordCheck {
    Arc::new(move |bytes| {
        catch_unwind(AssertUnwindSafe(|| decode(bytes).map(drop))).unwrap_or_else(|panic| {
            Err(format!("the decoder panicked: {}", panic_message(&*panic)))
        })
    })
}

/// Whether the bytes of a record decode as what its source carries.
pub(crate) type RecordCheck = Arc<dyn Fn(Bytes) -> Result<(), String> + Send + Sync>;
