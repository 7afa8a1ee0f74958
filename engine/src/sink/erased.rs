//! A sink with its record type erased: what the plan holds and what commits batches calls.

use crate::batch::Batch;
use crate::batch::chunk::{Chunk, in_order};
use crate::error::{BoxError, Error};
use crate::panics;
use crate::sink::output::{Guarantee, Sink, SinkContext};
use crate::sink::part::StagedPart;
use crate::sink::shares::{InHand, Shares, Staging};
use crate::sink::sink_error::SinkError;
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
            records: WholeRecords::InHand(records.collect()),
        })
    }
    fn publish(&self, batch: &Batch, _: &[StagedPart]) -> Result<(), BoxError> {
        self.sink.lock().publish(batch)
    }
}

/// Why a batch cannot be staged again.
const NO_COPY: &str = "the sink has failed, and no copy of the batch was kept for it";

/// A batch for a [`Sink`].
struct WholeBatch<T, S> {
    sink: Arc<Mutex<S>>,
    records: WholeRecords<T>,
}

/// Where the records of a batch are.
enum WholeRecords<T> {
    InHand(Vec<T>),
    Staged,
    /// The sink has failed with them, and no copy was kept: see [`Sink::may_fail`].
    Lost,
}

impl<T: Clone + Send + 'static, S: Sink<T>> InHand for WholeBatch<T, S> {
    fn stage(&mut self, batch: &Batch, how: Staging) -> Result<(), BoxError> {
        let records = match std::mem::replace(&mut self.records, WholeRecords::Lost) {
            WholeRecords::InHand(records) => records,
            WholeRecords::Staged => {
                self.records = WholeRecords::Staged;
                return Ok(());
            }
            WholeRecords::Lost => return Err(SinkError::permanent(NO_COPY).into()),
        };
        let mut sink = self.sink.lock();
        // The sink takes them for good, also if it fails.
        let kept = (!how.once && sink.may_fail()).then(|| records.clone());
        match panics::catch(|| sink.stage(batch, records)) {
            Ok(()) => {
                self.records = WholeRecords::Staged;
                Ok(())
            }
            Err(error) => match kept {
                Some(kept) => {
                    self.records = WholeRecords::InHand(kept);
                    Err(error)
                }
                None if how.once => Err(error),
                // Another attempt would have nothing to give.
                None => Err(SinkError::permanent(error).into()),
            },
        }
    }
    fn parts(&self) -> Vec<StagedPart> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::chunk::SequenceKey;
    use highwater_wal::Lsn;

    /// Fails each time, though it says that it cannot.
    struct FailsAfterAll;

    impl Sink<u64> for FailsAfterAll {
        fn guarantee(&self) -> Guarantee {
            Guarantee::AtLeastOnce
        }
        fn may_fail(&self) -> bool {
            false
        }
        fn stage(&mut self, _: &Batch, _: Vec<u64>) -> Result<(), BoxError> {
            panic!("on purpose");
        }
    }

    /// The second attempt found no records, took that for a batch that is staged, and the batch was
    /// committed without its output.
    #[test]
    fn a_batch_without_a_copy_is_never_taken_for_staged() {
        let slot = SinkSlot::new(FailsAfterAll);
        let chunk = Chunk::new(SequenceKey::Log(0), 0, vec![7_u64]);
        let mut in_hand = slot.take(vec![chunk], 1);
        let batch = Batch {
            id: 1,
            time_ms: 0,
            from: Lsn::ZERO,
            to: Lsn::ZERO,
        };
        let how = Staging {
            in_parallel: false,
            once: false,
        };
        let first = in_hand.stage(&batch, how).unwrap_err();
        assert!(SinkError::is_permanent(&first), "{first}");
        assert!(first.to_string().contains("on purpose"), "{first}");
        let second = in_hand.stage(&batch, how).unwrap_err();
        assert!(SinkError::is_permanent(&second), "{second}");
    }
}
