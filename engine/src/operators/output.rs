//! Operators that end a stream.

use crate::batch::Batch;
use crate::batch::chunk::Chunk;
use crate::operators::dstream::DStream;
use crate::plan::node::NodeWork;
use crate::plan::program::OutputInfo;
use crate::record::Record;
use crate::sink::batch_fn::{Callback, IntoBatchResult};
use crate::sink::erased::SinkSlot;
use crate::sink::output::Sink;
use std::panic::Location;
use std::sync::Arc;

impl<T: Record> DStream<T> {
    /// Calls `f` with every batch, empty ones too, in order, on one thread. At least once: after a
    /// crash the batch in doubt comes again, with the same id and records. An effect that is keyed
    /// by `batch.id` happens once.
    ///
    /// `f` may return `()` or a `Result`; an error or a panic stops the context and the batch is
    /// not committed.
    #[track_caller]
    pub fn for_each_batch<O: IntoBatchResult>(
        &self,
        name: &str,
        f: impl Fn(&Batch, Vec<T>) -> O + Send + Sync + 'static,
    ) {
        self.attach(
            "for_each_batch",
            Some(name),
            Callback(f),
            Location::caller(),
        );
    }

    /// Ends the stream in `sink`.
    #[track_caller]
    pub fn sink(&self, name: &str, sink: impl Sink<T>) {
        self.attach("sink", Some(name), sink, Location::caller());
    }

    /// Ends the stream in `sink`, whose operator is called `kind` in messages. For authors of
    /// connectors; only sinks without anything to recover (such as the console) may do without a
    /// name.
    #[track_caller]
    pub fn sink_of_kind(&self, kind: &str, name: Option<&str>, sink: impl Sink<T>) {
        self.attach(kind, name, sink, Location::caller());
    }

    fn attach(&self, kind: &str, name: Option<&str>, sink: impl Sink<T>, at: &Location<'_>) {
        let operator = self
            .graph
            .borrow_mut()
            .operator(kind, name, &[self.operator], at);
        let limit = sink.limit();
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
        let sink = SinkSlot::new(sink);
        let output = graph.output(OutputInfo { operator, sink });
        graph.node(vec![input], NodeWork::Output { output });
    }
}
