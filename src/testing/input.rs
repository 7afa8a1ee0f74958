//! What the sources of a pipeline receive, batch by batch.

use crate::{Result, StreamingContext, Value};
use std::fmt;
use std::rc::Rc;

/// Sends records as one producer, numbered from the number given on.
type SendFn = Rc<dyn Fn(&StreamingContext, u64) -> Result<()>>;

/// Records for one source, in the order in which they are sent: see [`records`].
#[derive(Clone)]
pub struct Records {
    source: String,
    count: u64,
    send: SendFn,
}

/// Records of type `T` for the [`input`](crate::StreamScope::input) `source`. Each is sent as a
/// frame of its own, and is durable before the next one is sent.
pub fn records<T: Value>(source: &str, records: impl IntoIterator<Item = impl Into<T>>) -> Records {
    let records: Vec<T> = records.into_iter().map(Into::into).collect();
    let name = source.to_owned();
    Records {
        source: source.to_owned(),
        count: records.len() as u64,
        send: Rc::new(move |context, first| {
            let input = context.input::<T>(&name)?;
            for (record, number) in records.iter().zip(first..) {
                input.send_once(PRODUCER, number, record)?.wait()?;
            }
            Ok(())
        }),
    }
}

/// Records carry the sequence numbers of this producer. So what is sent again after a crash is
/// taken once.
const PRODUCER: &str = "test";

/// So many records a batch has at most, over all sources.
pub(super) const MAX_RECORDS: u64 = 1 << 32;

impl Records {
    /// Sends them. The first one has the sequence number `first`; returns the next free one.
    pub(super) fn send(&self, context: &StreamingContext, first: u64) -> Result<u64> {
        (self.send)(context, first)?;
        Ok(first + self.count)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("source", &self.source)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// The input of a run, batch by batch. Every batch comes one batch interval after the last one.
#[derive(Debug, Clone, Default)]
pub struct Input {
    batches: Vec<Vec<Records>>,
}

impl Input {
    /// Without a batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch of these records, sent in this order. None at all make an empty batch.
    #[must_use]
    pub fn batch(mut self, records: impl IntoIterator<Item = Records>) -> Self {
        self.batches.push(records.into_iter().collect());
        self
    }

    /// Adds `count` batches without input: time passes, windows move and keys time out.
    #[must_use]
    pub fn empty_batches(mut self, count: usize) -> Self {
        self.batches
            .resize_with(self.batches.len() + count, Vec::new);
        self
    }

    /// The batches, numbered as the engine numbers them.
    pub(super) fn batches(&self) -> impl Iterator<Item = (u64, &[Records])> {
        (1..).zip(self.batches.iter().map(Vec::as_slice))
    }

    /// How many records all batches have.
    pub(super) fn records(&self) -> u64 {
        self.batches.iter().flatten().map(Records::count).sum()
    }
}
