//! Batches that a program gives to a stream, one after the other: for tests.

use crate::codec::round_trip;
use crate::error::{Error, Result};
use crate::ingest::source_context::SourceContext;
use crate::record::Value;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// A frame has about so many bytes of records, unless the first one has more.
const FRAME_BYTES: usize = 256 << 10;

/// Batches for [`StreamScope::queue_stream`](crate::StreamScope::queue_stream). Cheap to clone;
/// every clone is the same queue.
///
/// It is in memory: what no batch has taken is lost with the process. What a batch has taken is in
/// the log, with its cut.
pub struct StreamQueue<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    waiting: Mutex<VecDeque<Vec<T>>>,
    one_at_a_time: bool,
}

impl<T> Clone for StreamQueue<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<T> fmt::Debug for StreamQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamQueue")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<T> Default for StreamQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> StreamQueue<T> {
    /// So many elements may wait.
    pub const MAX_WAITING: usize = 10_000;

    /// An empty queue. Each batch takes one element of it, as Spark's `queueStream` does.
    #[must_use]
    pub fn new() -> Self {
        Self::with(true)
    }

    /// An empty queue of which each batch takes all that waits.
    #[must_use]
    pub fn all_at_once() -> Self {
        Self::with(false)
    }

    fn with(one_at_a_time: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                waiting: Mutex::default(),
                one_at_a_time,
            }),
        }
    }

    /// Adds the records of one batch.
    ///
    /// # Errors
    /// Gives them back if [`Self::MAX_WAITING`] elements wait.
    pub fn push(&self, records: impl Into<Vec<T>>) -> Result<(), Vec<T>> {
        let records = records.into();
        let mut waiting = self.inner.waiting.lock();
        if waiting.len() >= Self::MAX_WAITING {
            return Err(records);
        }
        waiting.push_back(records);
        Ok(())
    }

    /// How many elements no batch has taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.waiting.lock().len()
    }

    /// Whether batches have taken all of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A queue whose records have any type.
pub(crate) trait Queued: Send + Sync {
    /// Brings into the log what the batch that is about to be cut has of the queue. What cannot be
    /// brought there stays.
    fn take_in(&self, source: &SourceContext) -> Result<()>;
}

impl<T: Value + Sync> Queued for StreamQueue<T> {
    fn take_in(&self, source: &SourceContext) -> Result<()> {
        let mut waiting = self.inner.waiting.lock();
        let most = match self.inner.one_at_a_time {
            true => 1,
            false => waiting.len(),
        };
        for _ in 0..most {
            let Some(records) = waiting.front_mut() else {
                break;
            };
            while !records.is_empty() {
                let appended = append(source, records)?;
                drop(records.drain(..appended));
            }
            waiting.pop_front();
        }
        Ok(())
    }
}

/// Appends as many of `records` as a frame has; how many those are.
fn append<T: Value>(source: &SourceContext, records: &[T]) -> Result<usize> {
    let (mut frame, mut bytes) = (Vec::new(), 0);
    let limit = FRAME_BYTES.min(source.max_record_bytes() / 2);
    for record in records {
        let record = round_trip::encode(record).map_err(|message| Error::Encode {
            input: source.name().to_owned(),
            message,
        })?;
        bytes += record.len() + size_of::<u64>();
        if bytes > limit && !frame.is_empty() {
            break;
        }
        frame.push(record);
    }
    let frame: Vec<&[u8]> = frame.iter().map(Vec::as_slice).collect();
    let _durable_with_the_cut = source.append(&frame)?;
    Ok(frame.len())
}
