//! The beginning of a stream: the records of one source, from a chunk of the log.

use crate::batch::chunk::open;
use crate::batch::positioned::Position;
use crate::ingest::decoder::Decoder;
use crate::operators::dstream::{DStream, FusedFn};
use crate::plan::graph::Graph;
use crate::plan::ids::OperatorId;
use crate::plan::operator_context::OperatorContext;
use bytes::Bytes;
use highwater_wal::{Chunk as LogChunk, FrameKind};
use std::panic::Location;
use std::sync::Arc;

impl<T: 'static> DStream<T> {
    /// The same stream, whose source stores at most so many records per second: see
    /// [`Builder::max_rate`](crate::Builder::max_rate), which sets it for all sources. It must be
    /// the stream of a source, before any operator.
    ///
    /// ```
    /// use highwater_engine::{BoxError, StreamScope};
    /// fn program(ssc: &StreamScope) -> Result<(), BoxError> {
    ///     let clicks = ssc.input::<String>("clicks").max_rate(10_000);
    ///     clicks.count().for_each_batch("count", |_, _| ());
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn max_rate(&self, records_per_second: u64) -> DStream<T> {
        let mut graph = self.graph.borrow_mut();
        graph.max_rate(self.operator, records_per_second, Location::caller());
        self.clone()
    }
}

/// Reads the records of one source from a chunk of the log. This is where its records are
/// checked against their CRC.
pub(crate) fn reader<T: 'static>(
    graph: &Graph,
    source: usize,
    operator: OperatorId,
    decode: Decoder<T>,
) -> FusedFn<T> {
    let streams = graph.streams();
    Arc::new(move |ctx: &OperatorContext, data, emit| {
        let chunk = open::<LogChunk>(data);
        let streams = ctx.streams().or(streams.get().map(Vec::as_slice));
        let Some(stream) = streams.and_then(|s| s.get(source)) else {
            return;
        };
        let bytes = Bytes::from_owner(chunk.clone());
        for frame in chunk.frames_of(stream.id) {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    ctx.enter(operator);
                    return ctx.fail(error.to_string());
                }
            };
            if frame.kind != FrameKind::Batch {
                continue;
            }
            let current = stream.is_current(frame.lsn);
            // What keeps the records: the chunk, or the batch that was decompressed.
            let unpacked = frame.decompressed().map(Bytes::from_owner);
            let bytes = unpacked.as_ref().unwrap_or(&bytes);
            for record in frame.records().skip(1) {
                ctx.enter(operator);
                ctx.set_position(Some(Position {
                    lsn: frame.lsn,
                    index: record.index(),
                }));
                let record = bytes.slice_ref(record.bytes());
                let decoded = if current {
                    decode(record)
                } else {
                    stream.upgrade(frame.lsn, record).and_then(|r| decode(r))
                };
                match decoded {
                    Ok(record) => emit(record),
                    Err(message) => {
                        return ctx.fail(format!("the record does not decode: {message}"));
                    }
                }
                if ctx.failed() {
                    return;
                }
            }
        }
    })
}
