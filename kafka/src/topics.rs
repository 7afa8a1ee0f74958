//! Which stream is which partition of which topic.
//!
//! Partition 0 of a topic is the stream with its name, so that each stream of records or of JSON
//! messages is a topic, and a topic may get more partitions later: partition n is the stream
//! `<topic>/n`. No topic has a `/` in its name.

use highwater_streams::{
    Error, NewStream, RECORDS, Refusal, Retention, StreamInfo, Streams, is_json, is_records,
};
use std::sync::Arc;

/// Topics have names of at most so many bytes.
const MAX_NAME_BYTES: usize = 249;
/// And at most so many partitions.
pub(crate) const MAX_PARTITIONS: u32 = 1000;

/// The topics of a server.
#[derive(Debug)]
pub(crate) struct Topics {
    pub(crate) streams: Arc<Streams>,
    pub(crate) prefix: String,
    pub(crate) retention: Option<Retention>,
}

/// What a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looked {
    /// So many partitions.
    Partitions(u32),
    /// There is none.
    Absent,
    /// There is a stream of its name, which has bytes.
    Bytes,
}

/// Whether a topic may have this name.
pub(crate) fn is_name(topic: &str) -> bool {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&topic.len())
        && topic.bytes().all(is_sound)
        && topic != "."
        && topic != ".."
}

/// Whether a stream of this type may be a partition.
pub(crate) fn has_messages(content_type: &str) -> bool {
    is_json(content_type) || is_records(content_type)
}

impl Topics {
    /// The stream of a partition; `None` if no topic or partition is called so.
    pub(crate) fn stream_of(&self, topic: &str, partition: i32) -> Option<String> {
        let index = u32::try_from(partition).ok()?;
        if !is_name(topic) || index >= MAX_PARTITIONS {
            return None;
        }
        Some(match index {
            0 => format!("{}{topic}", self.prefix),
            index => format!("{}{topic}/{index}", self.prefix),
        })
    }

    /// The topic whose partition 0 is this stream.
    pub(crate) fn topic_of<'a>(&self, stream: &'a str) -> Option<&'a str> {
        let topic = stream.strip_prefix(&self.prefix)?;
        is_name(topic).then_some(topic)
    }

    async fn stream(&self, name: &str) -> Result<Option<StreamInfo>, Error> {
        match self.streams.look(name)?.told().await? {
            Ok(stream) => Ok(Some(stream)),
            Err(_) => Ok(None),
        }
    }

    /// What a topic is, as far as it lasts.
    pub(crate) async fn look(&self, topic: &str) -> Result<Looked, Error> {
        let mut count = 0;
        while let Some(name) = self.stream_of(topic, count) {
            match self.stream(&name).await? {
                Some(stream) if stream.counts_messages => count += 1,
                Some(_) if count == 0 => return Ok(Looked::Bytes),
                _ => break,
            }
        }
        Ok(match u32::try_from(count) {
            Ok(0) | Err(_) => Looked::Absent,
            Ok(count) => Looked::Partitions(count),
        })
    }

    /// Creates what is missing of the first `partitions` partitions of a topic.
    pub(crate) async fn create(
        &self,
        topic: &str,
        partitions: u32,
    ) -> Result<Result<(), Refusal>, Error> {
        let new = NewStream {
            content_type: Some(RECORDS),
            retention: self.retention,
            ..NewStream::default()
        };
        // The last one first: a topic whose partition 0 is there is whole.
        for index in (0..partitions).rev() {
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            let Some(name) = self.stream_of(topic, index) else {
                return Ok(Err(Refusal::NotFound));
            };
            if let Some(stream) = self.stream(&name).await?
                && stream.counts_messages
            {
                continue;
            }
            match self.streams.create(&name, &new)?.told().await? {
                // Another client was faster.
                Ok(_) | Err(Refusal::Exists) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(()))
    }
}
