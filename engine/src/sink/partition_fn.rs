//! A function that is called with every partition of a batch, as a sink.

use crate::batch::Batch;
use crate::error::BoxError;
use crate::sink::batch_fn::IntoBatchResult;
use crate::sink::output::Guarantee;
use crate::sink::part::{Part, Records, StagedPart};
use crate::sink::staged::StagedSink;

pub(crate) struct PartitionCallback<F>(pub(crate) F);

impl<T, O, F> StagedSink<Vec<T>> for PartitionCallback<F>
where
    T: Clone + 'static,
    O: IntoBatchResult,
    F: Fn(&Batch, u64, Vec<T>) -> O + Send + Sync + 'static,
{
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    /// The records are the partitions.
    fn stage(
        &self,
        batch: &Batch,
        _: Part,
        partitions: &Records<'_, Vec<T>>,
    ) -> Result<Option<Vec<u8>>, BoxError> {
        for (number, partition) in (partitions.first()..).zip(partitions.iter()) {
            (self.0)(batch, number, partition.clone()).into_result()?;
        }
        Ok(None)
    }

    fn publish(&self, _: &Batch, _: &[StagedPart]) -> Result<(), BoxError> {
        Ok(())
    }
}
