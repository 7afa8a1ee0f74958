//! Operators that end a stream.

use crate::batch::Batch;
use crate::batch::chunk::Chunk;
use crate::operators::dstream::DStream;
use crate::plan::node::NodeWork;
use crate::plan::program::OutputInfo;
use crate::record::{Record, Value};
use crate::sink::batch_fn::{Callback, IntoBatchResult};
use crate::sink::erased::SinkSlot;
use crate::sink::output::Sink;
use crate::sink::partition_fn::PartitionCallback;
use crate::sink::staged::StagedSink;
use std::panic::Location;
use std::sync::Arc;

impl<T: Record> DStream<T> {
    /// Calls `f` with every batch, empty ones too, in order, on one thread. At least once: after a
    /// crash the batch in doubt comes again, with the same id and records. An effect that is keyed
    /// by `batch.id` happens once.
    ///
    /// `f` may return `()` or a `Result`. After an error or a panic the batch waits and `f` is
    /// called again with the same records, as [`OutputRetry`](crate::OutputRetry) says, unless the
    /// error is [permanent](crate::SinkError). Meanwhile the context takes in data.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(counts: &DStream<(String, u64)>) {
    /// counts.for_each_batch("to the log", |batch, counts| {
    ///     for (word, n) in counts {
    ///         println!("{} {word}: {n}", batch.id);
    ///     }
    /// });
    /// # }
    /// ```
    #[track_caller]
    pub fn for_each_batch<O: IntoBatchResult>(
        &self,
        name: &str,
        f: impl Fn(&Batch, Vec<T>) -> O + Send + Sync + 'static,
    ) {
        self.attach(
            "for_each_batch",
            Some(name),
            whole(Callback(f)),
            Location::caller(),
        );
    }

    /// Calls `f` with every partition of every batch, with its number in the batch, in order: for
    /// effects with a costly beginning, such as a connection. Partitions are those of
    /// [`glom`](Self::glom). They are spread over as many threads as there are workers; those of
    /// one thread come in order. At least once: after a crash the batch in doubt comes again, with
    /// the same partitions. A batch without records calls nothing.
    ///
    /// `f` may return `()` or a `Result`. What happens after an error is said at
    /// [`Self::for_each_batch`]. `f` is then called again with all partitions of its thread.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(lines: &DStream<String>) {
    /// lines.for_each_partition("send", |batch, partition, lines| {
    ///     // One connection for all lines of the partition.
    ///     println!("{} {partition}: {} lines", batch.id, lines.len());
    /// });
    /// # }
    /// ```
    #[track_caller]
    pub fn for_each_partition<O: IntoBatchResult>(
        &self,
        name: &str,
        f: impl Fn(&Batch, u64, Vec<T>) -> O + Send + Sync + 'static,
    ) where
        T: Value,
    {
        let at = Location::caller();
        let partitions = self.partitioned("partitions", at, |records| vec![records]);
        let slot = SinkSlot::staged(PartitionCallback(f));
        partitions.attach("for_each_partition", Some(name), (usize::MAX, slot), at);
    }

    /// Ends the stream in `sink`.
    #[track_caller]
    pub fn sink(&self, name: &str, sink: impl Sink<T>) {
        self.attach("sink", Some(name), whole(sink), Location::caller());
    }

    /// Ends the stream in `sink`, which takes each batch in parts, one for each worker.
    #[track_caller]
    pub fn staged_sink(&self, name: &str, sink: impl StagedSink<T>) {
        self.staged_sink_of_kind("staged_sink", name, sink);
    }

    /// Ends the stream in `sink`, whose operator is called `kind` in messages. For authors of
    /// connectors; only sinks without anything to recover (such as the console) may do without a
    /// name.
    #[track_caller]
    pub fn sink_of_kind(&self, kind: &str, name: Option<&str>, sink: impl Sink<T>) {
        self.attach(kind, name, whole(sink), Location::caller());
    }

    /// The same for a sink that takes each batch in parts.
    #[track_caller]
    pub fn staged_sink_of_kind(&self, kind: &str, name: &str, sink: impl StagedSink<T>) {
        let slot = SinkSlot::staged(sink);
        self.attach(kind, Some(name), (usize::MAX, slot), Location::caller());
    }

    /// Ends the stream in `sink`, which needs at most `limit` records of a batch.
    fn attach(
        &self,
        kind: &str,
        name: Option<&str>,
        (limit, sink): (usize, SinkSlot),
        at: &Location<'_>,
    ) {
        let operator = self
            .graph
            .borrow_mut()
            .operator(kind, name, &[self.operator], at);
        let fused = Arc::clone(&self.fused);
        let input = self.local(Arc::new(move |_, ctx, chunk, out| {
            let mut records = Vec::new();
            let sequence = chunk.sequence;
            fused(ctx, chunk.data, &mut |record| {
                if records.len() < limit {
                    records.push(record);
                }
            });
            if !records.is_empty() {
                out.push(Chunk::new(sequence, 0, records));
            }
        }));
        let mut graph = self.graph.borrow_mut();
        let output = graph.output(OutputInfo { operator, sink });
        graph.node(vec![input], NodeWork::Output { output });
    }
}

/// A sink that takes each batch as a whole, and how many records of it it needs.
fn whole<T: Record>(sink: impl Sink<T>) -> (usize, SinkSlot) {
    (sink.limit(), SinkSlot::new(sink))
}
