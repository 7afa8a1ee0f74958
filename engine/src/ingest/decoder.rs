//! The bytes of a record, as what its stream carries, and how an append makes sure that they can be
//! read back.

use crate::error::Result;
use crate::panics::panic_message;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Turns the bytes of a record into what the stream carries. A value that keeps a slice of the
/// bytes keeps its whole segment of the log mapped, and a truncated one on the disk. What may live
/// longer than its batch should copy them.
pub type Decoder<T> = Arc<dyn Fn(Bytes) -> Result<T, String> + Send + Sync>;

/// How it is made sure that records can be read back, when they are appended and at every start.
#[derive(Clone)]
pub(crate) enum RecordCheck {
    /// They are decoded.
    Decoder(Arc<dyn Fn(Bytes) -> Result<(), String> + Send + Sync>),
    /// They are UTF-8, which is all that the decoder of a text asks for. Nothing is copied.
    Text,
}

impl RecordCheck {
    /// The check that decodes.
    pub(crate) fn decoding<T: 'static>(decode: Decoder<T>) -> Self {
        Self::Decoder(Arc::new(move |bytes| {
            catch_unwind(AssertUnwindSafe(|| decode(bytes).map(drop))).unwrap_or_else(|panic| {
                Err(format!("the decoder panicked: {}", panic_message(&*panic)))
            })
        }))
    }

    /// The first record that cannot be read back.
    pub(crate) fn refused<'a>(
        &self,
        records: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<RefusedRecord> {
        let refused = |index, bytes, message| RefusedRecord {
            index,
            bytes,
            message,
        };
        let mut numbered = records.clone().enumerate();
        let Self::Decoder(check) = self else {
            return numbered.find_map(|(index, record)| {
                let error = std::str::from_utf8(record).err()?;
                Some(refused(index, record.len(), error.to_string()))
            });
        };
        // Decoders take bytes that live on. One copy of all costs less than one of each.
        let mut copied = Vec::with_capacity(records.clone().map(<[u8]>::len).sum());
        records.for_each(|record| copied.extend_from_slice(record));
        let mut copied = Bytes::from(copied);
        numbered.find_map(|(index, record)| {
            let message = check(copied.split_to(record.len())).err()?;
            Some(refused(index, record.len(), message))
        })
    }
}

/// A record that cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRecord {
    /// Its place among those that were looked at.
    pub(crate) index: usize,
    pub(crate) bytes: usize,
    pub(crate) message: String,
}

/// The decoder of a text: it refuses what is not UTF-8, and nothing else.
pub(crate) fn text_decoder<T>(read: impl Fn(&str) -> T + Send + Sync + 'static) -> Decoder<T> {
    Arc::new(move |bytes| {
        std::str::from_utf8(&bytes)
            .map(&read)
            .map_err(|error| error.to_string())
    })
}
