//! Declares the results of a stream as datasets.

use crate::batch::chunk::Chunk;
use crate::codec::{message_pack, round_trip};
use crate::datasets::handle::Datasets;
use crate::datasets::slot::{DATASET, DatasetSlot};
use crate::datasets::stored::{EncodedRecords, ResultKey};
use crate::operators::dstream::DStream;
use crate::plan::ids::OperatorId;
use crate::plan::node::{LocalFn, NodeWork};
use crate::plan::program::StateInfo;
use crate::record::Value;
use crate::state::encoded::EncodedTypes;
use std::any::type_name;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl<T: Value> DStream<T> {
    /// The results of this stream in past batches, under `name`. See [`Datasets`] for how long they
    /// are kept, and how they are had when they are not.
    ///
    /// [`StreamingContext::datasets`](crate::StreamingContext::datasets) gives the same handle
    /// later.
    #[track_caller]
    pub fn datasets(&self, name: &str) -> Datasets<T> {
        let mut graph = self.graph.borrow_mut();
        let at = Location::caller();
        let operator = graph.operator("datasets", Some(name), &[self.operator], at);
        let state = graph.state(StateInfo {
            name: name.to_owned(),
            kind: DATASET,
            type_names: type_name::<T>().to_owned(),
            types: Arc::new(EncodedTypes::<ResultKey, Vec<T>>::new()),
            readable: None,
            readers: Arc::default(),
        });
        let tap = graph.tap();
        drop(graph);
        let encoded = self.local(encode_records(self, operator, tap));
        let mut graph = self.graph.borrow_mut();
        graph.node(vec![encoded], NodeWork::Tap { tap });
        let slot = Arc::new(DatasetSlot::new::<T>(name, state, tap));
        if let Some(interval_ms) = graph.checkpoint_interval(self.operator) {
            slot.schedule(interval_ms, 1);
        }
        graph.datasets().slots.push(Arc::clone(&slot));
        Datasets {
            slot,
            records: PhantomData,
        }
    }
}

impl<T> DStream<T> {
    /// The newest result of this stream goes into the checkpoints of the context, taken every
    /// `interval`, as Spark's `checkpoint` does: it cuts the lineage of the results that
    /// [`datasets`](Self::datasets) of the returned stream hands out. It is
    /// `datasets(name).checkpoint(interval, 1)`, and has no effect on a stream without `datasets`:
    /// state is in every checkpoint anyway.
    ///
    /// An interval that is not a multiple of the batch interval is an error when the program is
    /// built.
    #[must_use]
    #[track_caller]
    pub fn checkpoint(&self, interval: Duration) -> DStream<T> {
        let at = Location::caller();
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let call = format!("checkpoint at {}:{}", at.file(), at.line());
        let mut graph = self.graph.borrow_mut();
        graph.checkpoint_results(self.operator, interval_ms, call);
        drop(graph);
        self.clone()
    }
}

/// The records of each chunk, encoded. In a batch whose result is not wanted nothing is computed,
/// unless records may be refused.
fn encode_records<T: Value>(stream: &DStream<T>, operator: OperatorId, tap: usize) -> LocalFn {
    let (fused, refuses) = (Arc::clone(&stream.fused), stream.graph.borrow().refuses());
    Arc::new(move |_, ctx, chunk, out| {
        if !ctx.wants(tap) {
            // What fails is refused when the batch is run, or never: a later computation of the
            // result leaves out what the batch has.
            if refuses.load(Ordering::Relaxed) {
                fused(ctx, chunk.data, &mut drop);
            }
            return;
        }
        let (sequence, mut records) = (chunk.sequence, EncodedRecords::default());
        fused(ctx, chunk.data, &mut |record: T| {
            ctx.enter(operator);
            let written = round_trip::check(&record).and_then(|()| {
                message_pack::encode_into(&record, &mut records.bytes).map_err(|e| e.to_string())
            });
            match written {
                Ok(()) => records.count += 1,
                Err(what) => ctx.refuse(format!("a record of a dataset cannot be kept: {what}")),
            }
        });
        if records.count > 0 {
            out.push(Chunk::new(sequence, 0, vec![records]));
        }
    })
}
