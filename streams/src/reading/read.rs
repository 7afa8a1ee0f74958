//! Reading a stream at a position.

use crate::error::{Error, Result};
use crate::frame::envelope::{Envelope, Kind};
use crate::interface::position::Position;
use crate::interface::refusal::Refusal;
use crate::interface::requests::{From, Page, StreamInfo};
use crate::reading::gather::Gather;
use crate::reading::info::info_of;
use crate::reading::search::{FoundFrame, frames_between, newest_where, with_frame};
use crate::shared::core::{Core, Found, RestsOn, SERVED};
use crate::shared::decision::Decision;
use crate::state::stream::{Block, Visible};
use highwater_wal::{Lsn, WalError};
use std::sync::Arc;

/// Frames that one page looks at: what a page costs is bounded, also where appends are short.
const MAX_FRAMES: u64 = 4096;

/// Frames are read one by one where less than this part of the log between them is theirs.
const DENSE: u64 = 4;

/// Data that is moved while it is read is looked for again so often.
const MAX_ATTEMPTS: usize = 100;

/// What a reader has to know of a stream.
struct View {
    number: u64,
    seen: Visible,
    start: u64,
    /// What comes before is the parent's.
    fork: Option<crate::frame::config::Fork>,
    /// Where data is that was moved, from the wanted position on.
    blocks: Vec<Block>,
    /// The chain has what follows.
    chain_from: u64,
}

/// Blocks that are looked at under one lock.
const MAX_BLOCKS: usize = 64;

fn view(core: &Core, number: u64, position: u64) -> Option<View> {
    let durable = core.durable();
    let mut part = core.table.of_number(number);
    let stream = part.numbered(number)?;
    stream.settle(durable);
    let moved = stream
        .extra
        .as_deref()
        .map_or(&[][..], |extra| &extra.moved);
    let blocks = moved.iter().filter(|block| block.end().position > position);
    Some(View {
        number,
        seen: stream.visible(),
        start: stream.start.position,
        fork: stream.fork(),
        blocks: blocks.take(MAX_BLOCKS).copied().collect(),
        chain_from: stream.moved_to().position,
    })
}

/// Whether a stream lives longer for being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Counts,
    /// It goes on with a use that counted when it began.
    GoesOn,
}

/// Reads up to `limit` bytes of messages; a single message may be longer.
pub(crate) fn read(
    core: &Arc<Core>,
    name: &str,
    from: From,
    limit: usize,
    used: Use,
) -> Result<Decision<Page>> {
    let (number, seen, info, rests_on) = match begin(core, name, used)? {
        Ok(begun) => begun,
        Err(decision) => return Ok(decision),
    };
    let no = |refusal| Ok(Decision::new(core, Err(refusal), rests_on));
    let from = match from {
        From::Start => info.start,
        From::Position(position) => position,
        From::End => info.end,
    };
    if from.get() > seen.tail {
        return no(Refusal::BeyondEnd { end: info.end });
    }
    if from < info.start {
        return no(Refusal::Truncated { start: info.start });
    }
    let mut gather = Gather::new(info.counts_messages, from.get(), limit);
    while gather.next() < seen.tail && !gather.is_full() {
        match read_on(core, number, seen.tail, &mut gather)? {
            Ok(()) => {}
            // What was gathered stands; the next request is told.
            Err(_) if gather.next() > from.get() => break,
            Err(refusal) => return no(refusal),
        }
    }
    let next = gather.next();
    let (data, lengths, received_ms) = gather.finish();
    let page = Page {
        from,
        next: Position::new(next),
        data,
        lengths,
        received_ms,
        is_up_to_date: next == seen.tail,
        stream: info,
    };
    Ok(Decision::new(core, Ok(page), None))
}

/// What is seen of the stream, now that it is used, and what refusals rest on.
type Begun = std::result::Result<(u64, Visible, StreamInfo, RestsOn), Decision<Page>>;

fn begin(core: &Arc<Core>, name: &str, used: Use) -> Result<Begun> {
    let mut part = core.table.of_name(name);
    let Found { outcome, rests_on } = core.find(&mut part, name)?;
    let slot = match outcome {
        Ok(slot) => slot,
        Err(refusal) => return Ok(Err(Decision::new(core, Err(refusal), rests_on))),
    };
    let stream = part.at_mut(slot).expect("it was found just now");
    let seen = stream.visible();
    if !seen.exists {
        // It was created just now, and no client was told yet.
        return Ok(Err(Decision::new(core, Err(Refusal::NotFound), None)));
    }
    if used == Use::Counts {
        stream.touched_ms = core.now_ms();
    }
    let mut info = info_of(stream, seen.tail);
    info.is_closed = seen.is_closed;
    Ok(Ok((stream.number, seen, info, rests_on)))
}

/// Reads from where `gather` is, from the stream or from the one it shares that place with.
fn read_on(
    core: &Core,
    number: u64,
    tail: u64,
    gather: &mut Gather,
) -> Result<std::result::Result<(), Refusal>> {
    for _ in 0..MAX_ATTEMPTS {
        let position = gather.next();
        let (mut owner, mut stop) = (number, tail);
        let view = loop {
            let Some(view) = view(core, owner, position) else {
                return Ok(Err(Refusal::NotFound));
            };
            match view.fork {
                Some(fork) if position < fork.base => {
                    (owner, stop) = (fork.parent, stop.min(fork.base));
                }
                _ => break view,
            }
        };
        if position < view.start {
            let start = Position::new(view.start);
            return Ok(Err(Refusal::Truncated { start }));
        }
        let read = match position < view.chain_from {
            true => read_blocks(core, &view, stop, gather),
            false => read_chain(core, &view, stop, gather),
        };
        match read {
            Ok(true) => return Ok(Ok(())),
            // Moved in between: it is somewhere else now.
            Ok(false) | Err(Error::Log(WalError::Truncated { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Inconsistent {
        lsn: core.durable(),
        what: format!(
            "data of stream number {number} at position {} is not found",
            gather.next()
        ),
    })
}

/// Tells whether anything was found.
fn read_blocks(core: &Core, view: &View, stop: u64, gather: &mut Gather) -> Result<bool> {
    let mut has_found = false;
    for block in &view.blocks {
        if gather.is_full() || gather.next() >= stop {
            break;
        }
        let taken = with_frame(core, block.lsn, |frame, envelope| {
            gather.take(
                block.first.position,
                envelope.received_ms,
                stop,
                frame.records().skip(1).map(|r| r.bytes()),
            );
        })?;
        if taken.is_none() {
            break;
        }
        has_found = true;
    }
    Ok(has_found)
}

/// Tells whether anything was found.
fn read_chain(core: &Core, view: &View, stop: u64, gather: &mut Gather) -> Result<bool> {
    let position = gather.next();
    let early = |frame: &FoundFrame| frame.first.position <= position;
    let Some(first) = newest_where(core, view.number, view.seen.newest, early)? else {
        return Ok(false);
    };
    let enough = first
        .first
        .weight
        .saturating_add(gather.room() as u64)
        .saturating_add(first.length.weight);
    let last = newest_where(core, view.number, view.seen.newest, |frame| {
        frame.first.position < stop
            && frame.first.weight <= enough
            && frame.index < first.index + MAX_FRAMES
            || frame.index <= first.index
    })?;
    let Some(last) = last else {
        return Ok(false);
    };
    let weight = last.first.weight + last.length.weight - first.first.weight;
    if last.end_lsn - first.lsn <= DENSE * (weight + 1024) {
        read_range(core, view.number, stop, (&first, &last), gather)?;
    } else {
        let Some(lsns) = frames_between(core, first.lsn, last.lsn)? else {
            return Ok(false);
        };
        for lsn in lsns {
            let taken = with_frame(core, lsn, |frame, envelope| {
                let records = frame.records().skip(1).map(|record| record.bytes());
                gather.take(envelope.first.position, envelope.received_ms, stop, records);
            })?;
            if taken.is_none() {
                return Ok(gather.next() > position || gather.is_full());
            }
        }
    }
    // A message that does not fit into the rest of the page is left for the next one.
    Ok(gather.next() > position || gather.is_full())
}

/// Reads all frames of the log between two of a stream, and takes those of the stream.
fn read_range(
    core: &Core,
    number: u64,
    stop: u64,
    (first, last): (&FoundFrame, &FoundFrame),
    gather: &mut Gather,
) -> Result<()> {
    let (from, to) = (Lsn::new(first.lsn), Lsn::new(last.end_lsn));
    let mut reader = core.wal.read_range(from, to)?.only(SERVED);
    while let Some(frame) = reader.next_frame()? {
        let Some(header) = frame.records().next() else {
            continue;
        };
        let envelope = Envelope::decode(header.bytes()).map_err(|what| Error::Inconsistent {
            lsn: frame.lsn.get(),
            what,
        })?;
        if envelope.stream == number && envelope.kind != Kind::Moved {
            let records = frame.records().skip(1).map(|record| record.bytes());
            gather.take(envelope.first.position, envelope.received_ms, stop, records);
        }
    }
    Ok(())
}
