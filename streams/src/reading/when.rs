//! Finding a position by time.

use crate::error::Result;
use crate::interface::position::Position;
use crate::interface::refusal::Refusal;
use crate::reading::info::info_of;
use crate::reading::search::{FoundFrame, newest_where, with_frame};
use crate::shared::core::{Core, Found};
use crate::shared::decision::Decision;
use crate::state::stream::{Block, Visible};
use std::sync::Arc;

/// What a search by time needs to know of a stream.
struct View {
    seen: Visible,
    fork: Option<(u64, u64)>,
    blocks: Vec<Block>,
    /// First position that the chain has.
    chain_from: u64,
}

/// The first position whose message was received at `at_ms` or later. The end of the stream if
/// there is none.
pub(crate) fn position_at(core: &Arc<Core>, name: &str, at_ms: u64) -> Result<Decision<Position>> {
    let (mut number, info, seen) = {
        let mut part = core.table.of_name(name);
        let Found { outcome, rests_on } = core.find(&mut part, name)?;
        let slot = match outcome {
            Ok(slot) => slot,
            Err(refusal) => return Ok(Decision::new(core, Err(refusal), rests_on)),
        };
        let stream = part.at_mut(slot).expect("it was found just now");
        let seen = stream.visible();
        if !seen.exists {
            return Ok(Decision::new(core, Err(Refusal::NotFound), None));
        }
        (stream.number, info_of(stream, seen.tail), seen)
    };
    let (mut stop, mut found) = (seen.tail, seen.tail);
    while let Some(view) = view(core, number) {
        let begin = view.fork.map_or(0, |(_, base)| base);
        found = found.min(in_stream(core, number, &view, at_ms)?.min(stop));
        match view.fork {
            // All of its own is later: perhaps some of what it shares is, too.
            Some((parent, base)) if found <= begin => (number, stop) = (parent, base.min(stop)),
            _ => break,
        }
    }
    let found = Position::new(found).max(info.start);
    Ok(Decision::new(core, Ok(found), None))
}

fn view(core: &Core, number: u64) -> Option<View> {
    let durable = core.durable();
    let mut part = core.table.of_number(number);
    let stream = part.numbered(number)?;
    stream.settle(durable);
    let blocks = stream.extra.as_deref().map(|extra| extra.moved.clone());
    Some(View {
        seen: stream.visible(),
        fork: stream.fork().map(|fork| (fork.parent, fork.base)),
        blocks: blocks.unwrap_or_default(),
        chain_from: stream.moved_to().position,
    })
}

/// As [`position_at`], in what is the stream's own.
fn in_stream(core: &Core, number: u64, view: &View, at_ms: u64) -> Result<u64> {
    let early = |frame: &FoundFrame| frame.received_ms < at_ms;
    let found = newest_where(core, number, view.seen.newest, early)?;
    let end = found.map(|frame| frame.first.position + frame.length.position);
    if let Some(end) = end.filter(|end| *end > view.chain_from) {
        return Ok(end);
    }
    // What was moved has the time of the newest of a block. From the oldest block on whose newest
    // is late enough: a position that may be too early, and never too late.
    let (mut low, mut high) = (0, view.blocks.len());
    while low < high {
        let middle = low.midpoint(high);
        let Some(block) = view.blocks.get(middle) else {
            break;
        };
        let received_ms = with_frame(core, block.lsn, |_, envelope| envelope.received_ms)?;
        match received_ms {
            // Gone meanwhile: it was moved again, or given up.
            None => return Ok(block.first.position),
            Some(ms) if ms < at_ms => low = middle + 1,
            Some(_) => high = middle,
        }
    }
    let first = view.blocks.get(low).map(|block| block.first.position);
    Ok(first.unwrap_or(view.chain_from))
}
