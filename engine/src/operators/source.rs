//! The beginning of a stream: the records of one source, from a chunk of the batch's input.

use crate::batch::positioned::Position;
use crate::batch::source_range::{RangeChunk, SourceRange};
use crate::ingest::decoder::Decoder;
use crate::ingest::source::{OffsetRange, ReadError, Source};
use crate::operators::dstream::{DStream, FusedFn};
use crate::plan::graph::Graph;
use crate::plan::ids::OperatorId;
use crate::plan::operator_context::OperatorContext;
use crate::plan::source_stream::SourceStream;
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

/// Reads the records of one source: from a chunk of the log, where they are checked against their
/// CRC, or from the source itself, if it keeps them.
pub(crate) fn reader<T: 'static>(
    graph: &Graph,
    (index, by_offset): (usize, Option<Arc<dyn Source>>),
    operator: OperatorId,
    decode: Decoder<T>,
) -> FusedFn<T> {
    let streams = graph.streams();
    Arc::new(move |ctx: &OperatorContext, data, emit| {
        let streams = ctx.streams().or(streams.get().map(Vec::as_slice));
        let Some(stream) = streams.and_then(|s| s.get(index)) else {
            return;
        };
        let emit = &mut |ctx: &OperatorContext, record: Result<Bytes, String>| match record
            .and_then(|record| decode(record))
        {
            Ok(record) => emit(record),
            Err(message) => ctx.fail(format!("the record does not decode: {message}")),
        };
        match (data.into_any().downcast::<LogChunk>(), &by_offset) {
            (Ok(chunk), _) => read_log(ctx, operator, &chunk, stream, emit),
            (Err(other), Some(source)) => {
                let chunk = other.downcast::<RangeChunk>();
                let chunk = chunk.expect("a batch has chunks of the log and of sources");
                if chunk.range.stream == stream.id.0 {
                    read_range(ctx, operator, *chunk, &**source, emit);
                }
            }
            (Err(_of_another_source), None) => {}
        }
    })
}

fn read_log(
    ctx: &OperatorContext,
    operator: OperatorId,
    chunk: &LogChunk,
    stream: &SourceStream,
    emit: &mut impl FnMut(&OperatorContext, Result<Bytes, String>),
) {
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
            if current {
                emit(ctx, Ok(record));
            } else {
                emit(ctx, stream.upgrade(frame.lsn, record));
            }
            if ctx.failed() {
                return;
            }
        }
    }
}

/// Has the source read a range, and gives each record its place: that of the batch's end, and the
/// number of its offset in the batch.
fn read_range(
    ctx: &OperatorContext,
    operator: OperatorId,
    chunk: RangeChunk,
    source: &dyn Source,
    emit: &mut impl FnMut(&OperatorContext, Result<Bytes, String>),
) {
    let RangeChunk { range, lsn, index } = chunk;
    let SourceRange {
        item,
        from,
        to,
        identity,
        records,
        ..
    } = range;
    let range = OffsetRange {
        item,
        from,
        to,
        identity,
        records,
    };
    let mut next = from;
    let read = source.read(&range, &mut |offset, record| {
        ctx.enter(operator);
        let at = offset.checked_sub(from).and_then(|n| u32::try_from(n).ok());
        let at = at.and_then(|n| index.checked_add(n));
        let Some(at) = at.filter(|_| offset >= next && offset < to) else {
            return ctx.refuse(format!(
                "the source has given offset {offset} of {}, and the batch has {from} to {to}, in ascending order",
                range.item
            ));
        };
        next = offset.saturating_add(1);
        ctx.set_position(Some(Position { lsn, index: at }));
        if !ctx.failed() {
            emit(ctx, Ok(record));
        }
    });
    ctx.enter(operator);
    let of = format!("{} from offset {from} to {to}", range.item);
    match read {
        Ok(()) => {}
        Err(error @ ReadError::Unavailable(_)) => ctx.wait(format!("{of}: {error}")),
        Err(error @ ReadError::Gone(_)) => ctx.refuse(format!("{of}: {error}")),
    }
}
