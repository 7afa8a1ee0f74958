//! The second input of an operator that puts records aside: those that are replayed.

use crate::dead_letters::outlet::{self, DEAD_LETTERS};
use crate::error::GraphError;
use crate::ingest::decoder::{Decoder, RecordCheck};
use crate::operators::attempts::on_error::OnError;
use crate::operators::dstream::{DStream, FusedFn};
use crate::operators::source::reader;
use crate::plan::graph::Graph;
use crate::plan::program::{Origin, SourceInfo};
use crate::plan::slide::Slide;
use crate::refused::policy::ErrorPolicy;
use bytes::Bytes;
use std::any::type_name;
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

impl<T: 'static> DStream<T> {
    /// What an operator reads that puts records of this stream aside: the stream, and in its order
    /// of the log what is replayed; also the source of that. Other operators read the stream alone.
    pub(super) fn with_replayed(
        &self,
        kind: &str,
        at: &Location<'_>,
    ) -> (DStream<T>, Option<usize>) {
        let OnError {
            policy: ErrorPolicy::DeadLetter,
            codec: Some(codec),
        } = self.on_error
        else {
            return (self.clone(), None);
        };
        self.check_every_batch(kind, at);
        let decode: Decoder<T> =
            Arc::new(move |letter: Bytes| outlet::decode(&letter, codec.decode));
        let mut graph = self.graph.borrow_mut();
        let source = graph.source(SourceInfo {
            name: String::new(), // follows from the operator's, which is not known yet
            kind: DEAD_LETTERS,
            record: type_name::<T>(),
            input_type: None,
            check: RecordCheck::decoding(Arc::clone(&decode)),
            origin: Origin::Program,
        });
        let replayed = reader(&graph, (source, None), self.operator, decode);
        drop(graph);
        let stream = match (self.input == Graph::LOG, self.united) {
            // Both read the chunks of the log: they are merged where they are read, and it costs
            // nothing if there is nothing to replay.
            (true, _) | (_, None) => DStream {
                fused: merged(Arc::clone(&self.fused), replayed),
                ..self.clone()
            },
            (false, Some(united)) => {
                let replayed = DStream {
                    graph: Rc::clone(&self.graph),
                    input: Graph::LOG,
                    fused: replayed,
                    depth: 0,
                    is_positioned: false,
                    ..self.clone()
                };
                united(self, &replayed)
            }
        };
        (stream, Some(source))
    }

    /// What is replayed comes in any batch, so the stream must have records in every one.
    fn check_every_batch(&self, kind: &str, at: &Location<'_>) {
        let mut graph = self.graph.borrow_mut();
        let slide = graph.slide(self.operator);
        if slide != Slide::EveryBatch && slide.millis(0) != graph.interval_ms() {
            graph.error(GraphError::BadSetting {
                operator: format!("{kind} at {}:{}", at.file(), at.line()),
                what: "its input has records only where a window ends, so records that it puts aside could not be replayed in other batches. Use ErrorPolicy::Skip, or put records aside before the window".to_owned(),
            });
        }
    }
}

/// The records of both, by their place in the log.
fn merged<T: 'static>(input: FusedFn<T>, replayed: FusedFn<T>) -> FusedFn<T> {
    Arc::new(move |ctx, data, emit| {
        let mut again = VecDeque::new();
        replayed(ctx, data.duplicate(), &mut |record| {
            again.push_back((ctx.position(), record));
        });
        if again.is_empty() {
            return input(ctx, data, emit);
        }
        input(ctx, data, &mut |record| {
            let here = ctx.position();
            while let Some((position, record)) = again.pop_front_if(|(at, _)| *at < here) {
                ctx.set_position(position);
                emit(record);
            }
            ctx.set_position(here);
            emit(record);
        });
        for (position, record) in again {
            ctx.set_position(position);
            emit(record);
        }
    })
}
