//! A sink with its record type erased: what the plan holds and the driver calls.

use crate::batch::Batch;
use crate::batch::chunk::{Chunk, in_order};
use crate::error::{BoxError, Error};
use crate::panics;
use crate::sink::output::{Guarantee, Sink, SinkContext};
use parking_lot::Mutex;
use std::fmt;

/// A sink of the plan.
pub(crate) struct SinkSlot {
    pub(crate) guarantee: Guarantee,
    sink: Mutex<Box<dyn ErasedSink>>,
}

impl SinkSlot {
    pub(crate) fn new<T: 'static>(sink: impl Sink<T>) -> Self {
        Self {
            guarantee: sink.guarantee(),
            sink: Mutex::new(Box::new(Typed {
                sink,
                records: std::marker::PhantomData,
            })),
        }
    }

    /// Lets the sink complete or remove what a crash left.
    pub(crate) fn open(&self, name: &str, context: &SinkContext) -> Result<(), Error> {
        self.guarded(|sink| sink.open(context))
            .map_err(|source| Error::OutputOpen {
                output: name.to_owned(),
                source,
            })
    }

    pub(crate) fn stage(&self, name: &str, batch: Batch, chunks: Vec<Chunk>) -> Result<(), Error> {
        self.guarded(|sink| sink.stage(&batch, chunks))
            .map_err(|source| failed(name, batch, "staging", source))
    }

    pub(crate) fn publish(&self, name: &str, batch: Batch) -> Result<(), Error> {
        self.guarded(|sink| sink.publish(&batch))
            .map_err(|source| failed(name, batch, "publishing", source))
    }

    fn guarded(
        &self,
        call: impl FnOnce(&mut dyn ErasedSink) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        let mut sink = self.sink.lock();
        panics::catch(|| call(&mut **sink))
    }
}

fn failed(name: &str, batch: Batch, phase: &'static str, source: BoxError) -> Error {
    Error::Output {
        output: name.to_owned(),
        batch,
        phase,
        source,
    }
}

impl fmt::Debug for SinkSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkSlot")
            .field("guarantee", &self.guarantee)
            .finish_non_exhaustive()
    }
}

/// A sink with the record type erased.
trait ErasedSink: Send {
    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError>;
    fn stage(&mut self, batch: &Batch, chunks: Vec<Chunk>) -> Result<(), BoxError>;
    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError>;
}

struct Typed<T, S> {
    sink: S,
    records: std::marker::PhantomData<fn(T)>,
}

impl<T: 'static, S: Sink<T>> ErasedSink for Typed<T, S> {
    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError> {
        self.sink.open(context)
    }
    fn stage(&mut self, batch: &Batch, chunks: Vec<Chunk>) -> Result<(), BoxError> {
        let mut records: Vec<T> = in_order::<T>(chunks).flatten().collect();
        records.truncate(self.sink.limit());
        self.sink.stage(batch, records)
    }
    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError> {
        self.sink.publish(batch)
    }
}
