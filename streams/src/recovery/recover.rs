//! The start: the table as the frames of the log say.

use crate::error::{Error, Result};
use crate::frame::envelope::{Envelope, Kind};
use crate::shared::core::{Core, SERVED};
use crate::state::stream::Stream;
use highwater_wal::Lsn;
use std::sync::atomic::Ordering;

/// Reads the frames of streams from `from` on, and applies those that the table does not have yet.
/// Tells how many it applied.
pub(crate) fn fold(core: &Core, from: Lsn) -> Result<u64> {
    let now_ms = core.now_ms();
    let mut reader = core
        .wal
        .read_from(from)?
        .only(SERVED)
        .named("the table of streams");
    let mut frames = 0;
    while let Some(frame) = reader.next_frame()? {
        let lsn = frame.lsn.get();
        let inconsistent = |what: String| Error::Inconsistent { lsn, what };
        let header = frame.records().next();
        let header = header.ok_or_else(|| inconsistent("a frame without an envelope".into()))?;
        let envelope = Envelope::decode(header.bytes()).map_err(inconsistent)?;
        if envelope.kind == Kind::Id {
            continue; // of no stream: its place in the log is all that it is for
        }
        let mut part = core.table.of_number(envelope.stream);
        if lsn <= part.applied {
            continue;
        }
        part.applied = lsn;
        frames += 1;
        match (&envelope.config, envelope.kind) {
            (Some(config), Kind::Create) => {
                let types = core.content_type(config.content_type);
                let mut stream = Stream::create(&envelope, config, lsn, &types);
                stream.touched_ms = now_ms;
                part.insert(stream);
            }
            _ => {
                let Some(stream) = part.numbered(envelope.stream) else {
                    let number = envelope.stream;
                    return Err(inconsistent(format!(
                        "a frame of stream number {number}, which was never created"
                    )));
                };
                stream.touched_ms = now_ms;
                let applied = stream.apply(&envelope, lsn, core.options.max_producers);
                applied.map_err(inconsistent)?;
            }
        }
    }
    Ok(frames)
}

/// What follows from the table as a whole: who has forks, and which deleted streams are needed.
pub(crate) fn finish(core: &Core) {
    let (mut deleted, mut live, mut count) = (Vec::new(), 0_u64, 0);
    {
        let mut forks = core.forks.lock();
        for part in core.table.each() {
            count += part.len();
            for stream in part.streams() {
                live = live.saturating_add(stream.live_bytes());
                if let Some(fork) = stream.fork() {
                    *forks.entry(fork.parent).or_default() += 1;
                }
                if stream.is_deleted {
                    deleted.push(stream.number);
                }
            }
        }
    }
    core.streams.store(count, Ordering::Relaxed);
    core.counters.live_bytes.store(live, Ordering::Relaxed);
    for number in deleted {
        core.settle(number);
    }
}
