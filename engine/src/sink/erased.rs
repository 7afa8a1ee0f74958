//! A sink with its record type erased: what the plan holds and what commits batches calls.

use crate::batch::Batch;
use crate::batch::chunk::{Chunk, in_order};
use crate::error::{BoxError, Error};
use crate::panics;
use crate::sink::output::{Guarantee, Sink, SinkContext};
use crate::sink::part::StagedPart;
use crate::sink::shares::{InHand, Shares, Staging};
use crate::sink::staged::StagedSink;
use parking_lot::Mutex;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A sink of the plan.
pub(crate) struct SinkSlot {
    pub(crate) guarantee: Guarantee,
    /// Whether it stages parts, whose tokens stand in the log.
    pub(crate) lists_parts: bool,
    sink: Box<dyn ErasedSink>,
}

impl SinkSlot {
    /// A sink that takes each batch as a whole.
    pub(crate) fn new<T: Clone + Send + 'static>(sink: impl Sink<T>) -> Self {
        Self {
            guarantee: sink.guarantee(),
            lists_parts: false,
            sink: Box::new(Whole {
                sink: Arc::new(Mutex::new(sink)),
                records: PhantomData::<fn(T)>,
            }),
        }
    }

    /// A sink that takes each batch in parts.
    pub(crate) fn staged<T: Send + 'static>(sink: impl StagedSink<T>) -> Self {
        Self {
            guarantee: sink.guarantee(),
            lists_parts: true,
            sink: Box::new(InParts {
                sink: Arc::new(sink),
                records: PhantomData::<fn(T)>,
            }),
        }
    }

    /// Lets the sink complete or remove what a crash left.
    pub(crate) fn open(&self, name: &str, context: &SinkContext) -> Result<(), Error> {
        panics::catch(|| self.sink.open(context)).map_err(|source| cannot_open(name, source))
    }

    /// The records of a batch, in hand until they are staged: a share for each of `workers`.
    pub(crate) fn take(&self, chunks: Vec<Chunk>, workers: usize) -> Box<dyn InHand> {
        self.sink.take(chunks, workers)
    }

    /// Makes what was staged of a batch visible.
    pub(crate) fn publish(&self, batch: &Batch, parts: &[StagedPart]) -> Result<(), BoxError> {
        panics::catch(|| self.sink.publish(batch, parts))
    }

    /// The same for what a crash left, before the first batch.
    pub(crate) fn publish_again(
        &self,
        name: &str,
        batch: &Batch,
        parts: &[StagedPart],
    ) -> Result<(), Error> {
        self.publish(batch, parts)
            .map_err(|source| cannot_open(name, source))
    }
}

fn cannot_open(name: &str, source: BoxError) -> Error {
    Error::OutputOpen {
        output: name.to_owned(),
        source,
    }
}

impl fmt::Debug for SinkSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkSlot")
            .field("guarantee", &self.guarantee)
            .field("lists_parts", &self.lists_parts)
            .finish_non_exhaustive()
    }
}

/// A sink with the record type erased.
trait ErasedSink: Send + Sync {
    fn open(&self, context: &SinkContext) -> Result<(), BoxError>;
    fn take(&self, chunks: Vec<Chunk>, workers: usize) -> Box<dyn InHand>;
    fn publish(&self, batch: &Batch, parts: &[StagedPart]) -> Result<(), BoxError>;
}

struct InParts<T, S> {
    sink: Arc<S>,
    records: PhantomData<fn(T)>,
}

impl<T: Send + 'static, S: StagedSink<T>> ErasedSink for InParts<T, S> {
    fn open(&self, context: &SinkContext) -> Result<(), BoxError> {
        self.sink.open(context)
    }
    fn take(&self, chunks: Vec<Chunk>, workers: usize) -> Box<dyn InHand> {
        Box::new(Shares::<T, S>::new(Arc::clone(&self.sink), chunks, workers))
    }
    fn publish(&self, batch: &Batch, parts: &[StagedPart]) -> Result<(), BoxError> {
        match parts {
            [] => Ok(()),
            parts => self.sink.publish(batch, parts),
        }
    }
}

struct Whole<T, S> {
    sink: Arc<Mutex<S>>,
    records: PhantomData<fn(T)>,
}

impl<T: Clone + Send + 'static, S: Sink<T>> ErasedSink for Whole<T, S> {
    fn open(&self, context: &SinkContext) -> Result<(), BoxError> {
        self.sink.lock().open(context)
    }
    fn take(&self, chunks: Vec<Chunk>, _: usize) -> Box<dyn InHand> {
        let limit = self.sink.lock().limit();
        let records = in_order::<T>(chunks).flatten().take(limit);
        Box::new(WholeBatch {
            sink: Arc::clone(&self.sink),
            records: Some(records.collect()),
        })
    }
    fn publish(&self, batch: &Batch, _: &[StagedPart]) -> Result<(), BoxError> {
        self.sink.lock().publish(batch)
    }
}

/// A batch for a [`Sink`].
struct WholeBatch<T, S> {
    sink: Arc<Mutex<S>>,
    /// `None` when it is staged.
    records: Option<Vec<T>>,
}

impl<T: Clone + Send + 'static, S: Sink<T>> InHand for WholeBatch<T, S> {
    fn stage(&mut self, batch: &Batch, how: Staging) -> Result<(), BoxError> {
        let Some(records) = self.records.take() else {
            return Ok(());
        };
        let mut sink = self.sink.lock();
        // The sink takes them for good, also if it fails.
        let kept = (!how.once && sink.may_fail()).then(|| records.clone());
        let staged = panics::catch(|| sink.stage(batch, records));
        if staged.is_err() {
            self.records = kept;
        }
        staged
    }
    fn parts(&self) -> Vec<StagedPart> {
        Vec::new()
    }
}
