//! A record of a named stream, as the pipeline carries it.

use bytes::Bytes;
use highwater_streams::RecordRef;
use serde::{Deserialize, Serialize};

/// A record of a named stream: what a Kafka client has sent to it, or another program as
/// [`RecordRef`]. Key and value are bytes: decode them with
/// [`DStream::try_map`](highwater_engine::DStream::try_map) and a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServedRecord {
    /// Its stream.
    pub stream: String,
    /// Its position in the stream, which is its offset in the partition.
    pub offset: u64,
    /// Its producer's time, in milliseconds since the Unix epoch, if it has one.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl ServedRecord {
    /// The value as text; empty if there is none.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(self.value.as_deref().unwrap_or_default())
    }

    /// What the source hands on: the offset, the name of the stream after its length, the message.
    pub(super) fn wrap(stream: &str, offset: u64, message: &[u8]) -> Bytes {
        let length = u32::try_from(stream.len()).unwrap_or(u32::MAX);
        let parts = [
            &offset.to_le_bytes()[..],
            &length.to_le_bytes(),
            stream.as_bytes(),
            message,
        ];
        parts.concat().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        Self::unwrap(bytes).ok_or_else(|| "it is no record of a stream".to_owned())
    }

    fn unwrap(bytes: &[u8]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (stream, message) = rest.split_at_checked(length)?;
        let record = RecordRef::decode(message)?;
        let headers = record.headers.into_iter().map(|(name, value)| {
            let value = value.map(<[u8]>::to_vec);
            (name.to_owned(), value)
        });
        Some(Self {
            stream: std::str::from_utf8(stream).ok()?.to_owned(),
            offset: u64::from_le_bytes(*offset),
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        })
    }
}
