//! Giving up what streams are not to keep any longer: whole appends, from the oldest on.

use crate::error::Result;
use crate::frame::envelope::{Kind, Place};
use crate::reading::search::{FoundFrame, newest_where, with_frame};
use crate::shared::core::{Core, Said};
use crate::state::stream::{Block, Stream};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// A stream that may have too much.
#[derive(Debug)]
struct Candidate {
    number: u64,
    newest: u64,
    start: Place,
    /// Where the chain begins.
    chain_from: Place,
    blocks: Vec<Block>,
    limits: Limits,
}

/// What is given up: what begins so far from the end, or is so old.
#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    /// Data before this weight.
    weight: u64,
    /// Data before this position.
    position: u64,
    /// Data that was received before.
    received_ms: u64,
    /// For its age alone a stream is trimmed when something was received before.
    late_ms: u64,
}

/// A stream is trimmed when an eighth more than its bound is there, so that not every append is
/// followed by a frame that says so.
fn is_over(has: u64, bound: u64) -> bool {
    has > bound.saturating_add(bound / 8)
}

fn candidate(stream: &Stream, wall_ms: u64) -> Option<Candidate> {
    let keep = stream.retention();
    if keep.is_unbounded() || stream.is_deleted {
        return None;
    }
    let (start, tail) = (stream.start, stream.tail);
    let mut limits = Limits::default();
    if let Some(bytes) = keep
        .bytes
        .filter(|bytes| is_over(tail.weight - start.weight, *bytes))
    {
        limits.weight = tail.weight - bytes;
    }
    let has = tail.position - start.position;
    if let Some(positions) = keep.positions.filter(|positions| is_over(has, *positions)) {
        limits.position = tail.position - positions;
    }
    if let Some(age_ms) = keep.age_ms {
        limits.received_ms = wall_ms.saturating_sub(age_ms);
        limits.late_ms = limits.received_ms.saturating_sub(age_ms / 8);
    }
    let has_limit = limits.weight > 0 || limits.position > 0 || limits.received_ms > 0;
    let seen = stream.visible();
    (has_limit && has > 0 && seen.exists).then(|| Candidate {
        number: stream.number,
        newest: seen.newest,
        start,
        chain_from: stream.moved_to(),
        blocks: stream
            .extra
            .as_deref()
            .map_or(Vec::new(), |extra| extra.moved.clone()),
        limits,
    })
}

/// Gives up what is beyond the bounds of the streams of some parts.
pub(crate) fn trim(core: &Core, parts: Range<u64>) -> Result<()> {
    let wall_ms = core.wall_ms();
    for index in parts {
        let candidates: Vec<Candidate> = {
            let durable = core.durable();
            let mut part = core.table.part(index);
            if !part.has_bounded() {
                continue;
            }
            let mut found = Vec::new();
            for stream in part.streams_mut() {
                stream.settle(durable);
                found.extend(candidate(stream, wall_ms));
            }
            found
        };
        for candidate in candidates {
            // Forks may share what would be given up.
            if core.has_forks(candidate.number) {
                continue;
            }
            if let Some(start) = new_start(core, &candidate)? {
                begin_at(core, candidate.number, start)?;
            }
        }
    }
    Ok(())
}

/// Where the stream is to start; `None` where it does.
fn new_start(core: &Core, candidate: &Candidate) -> Result<Option<Place>> {
    let limits = candidate.limits;
    let by_age_alone = limits.weight == 0 && limits.position == 0;
    if by_age_alone && oldest_ms(core, candidate)?.is_none_or(|oldest| oldest >= limits.late_ms) {
        return Ok(None);
    }
    // What is kept has all that the bounds allow, and the append that crosses them.
    let is_out = |end: Place, received_ms: u64| {
        end.weight <= limits.weight
            || end.position <= limits.position
            || received_ms < limits.received_ms
    };
    let mut start = candidate.start;
    for block in &candidate.blocks {
        let received = with_frame(core, block.lsn, |_, envelope| envelope.received_ms)?;
        let Some(received_ms) = received else {
            return Ok(None);
        };
        if !is_out(block.end(), received_ms) {
            return Ok((start != candidate.start).then_some(start));
        }
        start = block.end();
    }
    let out = newest_where(
        core,
        candidate.number,
        candidate.newest,
        |frame: &FoundFrame| is_out(frame.first.after(frame.length), frame.received_ms),
    )?;
    if let Some(out) = out {
        let end = out.first.after(out.length);
        if end.position > start.position && end.position >= candidate.chain_from.position {
            start = end;
        }
    }
    Ok((start.position > candidate.start.position).then_some(start))
}

/// When the oldest data of a stream was received; `None` if that is not to be found now.
fn oldest_ms(core: &Core, candidate: &Candidate) -> Result<Option<u64>> {
    if let Some(block) = candidate.blocks.first() {
        return with_frame(core, block.lsn, |_, envelope| envelope.received_ms);
    }
    let first = candidate.start.position;
    let is_early = |frame: &FoundFrame| frame.first.position <= first;
    let found = newest_where(core, candidate.number, candidate.newest, is_early)?;
    Ok(found.map(|found| found.received_ms))
}

fn begin_at(core: &Core, number: u64, start: Place) -> Result<()> {
    let mut part = core.table.of_number(number);
    let Some(slot) = part.slot_of_number(number) else {
        return Ok(());
    };
    let Some(stream) = part.at_mut(slot) else {
        return Ok(());
    };
    if stream.is_deleted || stream.start.position >= start.position || core.has_forks(number) {
        return Ok(());
    }
    let said = Said {
        start: Some(start),
        ..Said::default()
    };
    let appended = core.append_next(&mut part, slot, Kind::Trim, &[], said)?;
    appended.expect("a frame without data fits");
    core.counters.trimmed.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
