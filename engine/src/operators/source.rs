//! The beginning of a stream: the records of one source, from a chunk of the log.

use crate::batch::chunk::open;
use crate::batch::positioned::Place;
use crate::ingest::decoder::Decoder;
use crate::operators::dstream::Pipe;
use crate::plan::graph::Graph;
use crate::plan::ids::OperatorId;
use crate::plan::operator_context::Site;
use bytes::Bytes;
use highwater_wal::{Chunk, FrameKind};
use std::sync::Arc;

/// Reads the records of one source out of a piece of the log. This is where every byte is checked
/// against its CRC.
pub(crate) fn reader<T: 'static>(
    graph: &Graph,
    source: usize,
    operator: OperatorId,
    decode: Decoder<T>,
) -> Pipe<T> {
    let streams = graph.streams();
    Arc::new(move |site: &Site, data, emit| {
        let chunk = open::<Chunk>(data);
        let Some(stream) = streams.get().and_then(|s| s.get(source)) else {
            return;
        };
        let bytes = Bytes::from_owner(chunk.clone());
        for frame in chunk.frames() {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    site.enter(operator);
                    return site.fail(error.to_string());
                }
            };
            if frame.stream != stream.id || frame.kind != FrameKind::Batch {
                continue;
            }
            let current = stream.is_current(frame.lsn);
            // What keeps the records: the chunk, or the batch that was decompressed.
            let unpacked = frame.decompressed().map(Bytes::from_owner);
            let bytes = unpacked.as_ref().unwrap_or(&bytes);
            for record in frame.records().skip(1) {
                site.enter(operator);
                site.at(Some(Place {
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
                        return site.fail(format!("the record does not decode: {message}"));
                    }
                }
                if site.failed() {
                    return;
                }
            }
        }
    })
}
