//! The scope in which a program is built: sources and unions of streams.

use crate::codec::message_pack;
use crate::ingest::decoder::{Decoder, RecordCheck, text_decoder};
use crate::ingest::receiver::Receiver;
use crate::ingest::sender::INPUT;
use crate::ingest::source::Source;
use crate::ingest::stream_queue::StreamQueue;
use crate::operators::attempts::on_error::OnError;
use crate::operators::dstream::{DStream, union};
use crate::operators::source::reader;
use crate::plan::graph::{Graph, SharedGraph};
use crate::plan::program::{Origin, SourceInfo};
use crate::record::{Record, Value};
use parking_lot::Mutex;
use std::any::TypeId;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// The scope in which a program is built: hands out sources, counters and broadcast values. It is
/// what the closure of [`Builder::get_or_create`](crate::Builder::get_or_create) is given, and
/// nothing of it outlives the call.
#[derive(Debug, Clone)]
pub struct StreamScope {
    pub(crate) graph: SharedGraph,
}

impl StreamScope {
    /// A stream of what `receiver` stores, each record decoded by `decode`. For authors of
    /// connectors; `kind` is what messages call the source.
    ///
    /// [`SourceContext::append`](crate::SourceContext::append) refuses a record that does not
    /// decode. A program whose decoder refuses what the log holds of the source does not start.
    #[track_caller]
    pub fn source<T: Record>(
        &self,
        kind: &'static str,
        name: &str,
        decode: Decoder<T>,
        receiver: impl Receiver,
    ) -> DStream<T> {
        let check = RecordCheck::decoding(Arc::clone(&decode));
        let origin = Origin::Receiver(Mutex::new(Some(Box::new(receiver))));
        let info = SourceInfo::of::<T>(kind, name, check, origin);
        self.declare(info, decode, Location::caller())
    }

    /// A stream of text that `receiver` stores, such as lines: each record is UTF-8, and `read`
    /// makes of it what the stream carries. For authors of connectors.
    ///
    /// An append makes sure that its records are UTF-8 where they lie, without a copy: it costs
    /// less than [`Self::source`] with the same decoder. It refuses what is not. A receiver that
    /// has `&str` uses [`SourceContext::append_text`](crate::SourceContext::append_text), which has
    /// nothing left to look at.
    ///
    /// `read` must take every text: it is not called before the batch is run, and a batch in which
    /// it panics fails, again and again. A text may be no number, no date; a stream of those is
    /// made of this one by `map` or `flat_map`, or of [`Self::source`], which decodes at the door.
    #[track_caller]
    pub fn text_source<T: Record>(
        &self,
        kind: &'static str,
        name: &str,
        read: impl Fn(&str) -> T + Send + Sync + 'static,
        receiver: impl Receiver,
    ) -> DStream<T> {
        let decode = text_decoder(read);
        let check = RecordCheck::Text;
        let origin = Origin::Receiver(Mutex::new(Some(Box::new(receiver))));
        let info = SourceInfo::of::<T>(kind, name, check, origin);
        self.declare(info, decode, Location::caller())
    }

    /// A stream of what `source` keeps itself, read by offset and not copied into the log; each
    /// record decoded by `decode`. For authors of connectors; `kind` is what messages call the
    /// source.
    ///
    /// Records of a batch come after those of other sources, in the order of the ranges that
    /// [`Source::advance`] names. A record that does not decode fails its batch: a source whose
    /// records may be anything should carry them as they are, for
    /// [`DStream::try_map`](crate::DStream::try_map) and a policy.
    #[track_caller]
    pub fn source_by_offset<T: Record>(
        &self,
        kind: &'static str,
        name: &str,
        decode: Decoder<T>,
        source: impl Source,
    ) -> DStream<T> {
        let check = RecordCheck::decoding(Arc::clone(&decode));
        let origin = Origin::ByOffset(Arc::new(source));
        let info = SourceInfo::of::<T>(kind, name, check, origin);
        self.declare(info, decode, Location::caller())
    }

    pub(crate) fn declare<T: Record>(
        &self,
        info: SourceInfo,
        decode: Decoder<T>,
        at: &Location<'_>,
    ) -> DStream<T> {
        let mut graph = self.graph.borrow_mut();
        let operator = graph.operator(info.kind, Some(&info.name), &[], at);
        let by_offset = info.by_offset().cloned();
        let index = graph.source(info);
        graph.is_source(operator, index);
        let fused = reader(&graph, (index, by_offset), operator, decode);
        drop(graph);
        DStream {
            graph: Rc::clone(&self.graph),
            input: Graph::LOG,
            operator,
            fused,
            depth: 0,
            is_positioned: false,
            unfused: DStream::unfuse,
            on_error: OnError::default(),
            united: None,
        }
    }
}

impl StreamScope {
    /// A stream of what the program sends through
    /// [`StreamingContext::input`](crate::StreamingContext::input).
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # fn program(ssc: &StreamScope) {
    /// let orders: DStream<(u64, String)> = ssc.input("orders"); // or `ssc.input::<(u64, String)>("orders")`
    /// # let _ = orders;
    /// # }
    /// ```
    #[track_caller]
    pub fn input<T: Value>(&self, name: &str) -> DStream<T> {
        let decode: Decoder<T> = Arc::new(|bytes| message_pack::decode::<T>(&bytes));
        let info = SourceInfo {
            name: name.to_owned(),
            kind: INPUT,
            record: std::any::type_name::<T>(),
            input_type: Some(TypeId::of::<T>()),
            check: RecordCheck::decoding(Arc::clone(&decode)),
            origin: Origin::Program,
        };
        self.declare(info, decode, Location::caller())
    }

    /// A stream of what the program pushes into `queue`: each batch takes one element of it. For
    /// tests, as Spark's `queueStream`; unlike that, what a batch has taken is in the log, and
    /// counts once whatever happens.
    ///
    /// ```
    /// use highwater_engine::{StreamQueue, StreamScope};
    ///
    /// fn program(ssc: &StreamScope, numbers: &StreamQueue<u64>) {
    ///     let sums = ssc.queue_stream("numbers", numbers).reduce(|a, b| a + b);
    ///     sums.for_each_batch("show", |batch, sum: Vec<u64>| println!("{}: {sum:?}", batch.id));
    /// }
    ///
    /// let numbers = StreamQueue::new();
    /// numbers.push([1, 2, 3]).unwrap();
    /// # let _ = program;
    /// ```
    #[track_caller]
    pub fn queue_stream<T: Value + Sync>(&self, name: &str, queue: &StreamQueue<T>) -> DStream<T> {
        let decode: Decoder<T> = Arc::new(|bytes| message_pack::decode::<T>(&bytes));
        let check = RecordCheck::decoding(Arc::clone(&decode));
        let origin = Origin::Queue(Arc::new(queue.clone()));
        let info = SourceInfo::of::<T>("queue_stream", name, check, origin);
        self.declare(info, decode, Location::caller())
    }
}

impl StreamScope {
    /// Everything of all `streams`, in the order that [`DStream::union`] describes.
    #[track_caller]
    pub fn union<T: Record>(&self, streams: impl IntoIterator<Item = DStream<T>>) -> DStream<T> {
        let streams: Vec<DStream<T>> = streams.into_iter().collect();
        union(&self.graph, &streams, Location::caller())
    }
}
