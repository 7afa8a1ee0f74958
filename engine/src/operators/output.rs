//! Operators that end a stream.

use crate::batch::Batch;
use crate::batch::chunk::Parcel;
use crate::operators::dstream::DStream;
use crate::plan::node::{LocalFn, Node};
use crate::plan::program::OutputInfo;
use crate::record::Record;
use crate::sink::batch_fn::{Callback, Outcome};
use crate::sink::erased::SinkSlot;
use crate::sink::output::{Sink, Wants};
use std::panic::Location;
use std::sync::Arc;

impl<T: Record> DStream<T> {
    /// Calls `f` with every batch, empty ones too, in order, on one thread. At least once: after a
    /// crash the batch in doubt comes again with the same id and records, so an effect that is
    /// keyed by `batch.id` happens once.
    ///
    /// `f` may return `()` or a `Result`; an error or a panic stops the context and the batch is
    /// not committed.
    #[track_caller]
    pub fn for_each_batch<O: Outcome>(
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
        let mut graph = self.graph.borrow_mut();
        let operator = graph.operator(kind, name, &[self.operator], at);
        let limit = match sink.wants() {
            Wants::Everything => usize::MAX,
            Wants::First(n) => n,
        };
        let pipe = Arc::clone(&self.pipe);
        let run: LocalFn = Arc::new(move |_, site, parcel, out| {
            let mut records = Vec::new();
            let order = parcel.order;
            pipe(site, parcel.data, &mut |record| {
                if records.len() < limit {
                    records.push(record);
                }
            });
            if !records.is_empty() {
                out.push(Parcel::new(order, 0, records));
            }
        });
        let input = graph.node(Node::Local {
            input: self.input,
            first: self.operator,
            run,
        });
        let sink = SinkSlot::new(sink);
        let output = graph.output(OutputInfo { operator, sink });
        graph.node(Node::Output { input, output });
    }
}
