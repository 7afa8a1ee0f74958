//! Finding frames of a stream by its links.
//!
//! A search goes from the newest frame that readers see back along the links: never over a frame
//! that it looks for, and never to one that is not durable. What was moved, or trimmed, may be gone
//! from the log. It counts as too far back.

use crate::error::{Error, Result};
use crate::frame::envelope::{Envelope, Place};
use crate::interface::refusal::Refusal;
use crate::shared::core::{Core, Found, RestsOn, SERVED};
use highwater_wal::{Frame, Lsn, WalError};
use std::sync::Arc;

/// What a search needs to know of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundFrame {
    pub(crate) lsn: u64,
    pub(crate) end_lsn: u64,
    pub(crate) index: u64,
    pub(crate) first: Place,
    pub(crate) length: Place,
    pub(crate) received_ms: u64,
}

/// Calls `then` with the frame at `lsn`; `None` if the log does not have it any more.
pub(crate) fn with_frame<T>(
    core: &Core,
    lsn: u64,
    then: impl FnOnce(&Frame<'_>, &Envelope<'_>) -> T,
) -> Result<Option<T>> {
    let mut reader = match core.wal.read_from(Lsn::new(lsn)) {
        Ok(reader) => reader,
        Err(WalError::Truncated { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let inconsistent = |what: String| Error::Inconsistent { lsn, what };
    let frame = reader.next_frame()?;
    let frame = frame.ok_or_else(|| inconsistent("a stream has a frame beyond the end".into()))?;
    if frame.lsn.get() != lsn || frame.stream != SERVED {
        return Err(inconsistent("a link leads to a frame of no stream".into()));
    }
    let header = frame.records().next();
    let header = header.ok_or_else(|| inconsistent("a frame without an envelope".into()))?;
    let envelope = Envelope::decode(header.bytes()).map_err(inconsistent)?;
    Ok(Some(then(&frame, &envelope)))
}

fn summary(frame: &Frame<'_>, envelope: &Envelope<'_>) -> FoundFrame {
    FoundFrame {
        lsn: frame.lsn.get(),
        end_lsn: frame.end_lsn.get(),
        index: envelope.index,
        first: envelope.first,
        length: envelope.length,
        received_ms: envelope.received_ms,
    }
}

/// The newest frame of stream `number`, from the one at `newest` back, that is `early` enough: of
/// two frames the older one is, if the newer one is. `None` if the log does not have it any more.
pub(crate) fn newest_where(
    core: &Core,
    number: u64,
    newest: u64,
    early: impl Fn(&FoundFrame) -> bool,
) -> Result<Option<FoundFrame>> {
    let look = |lsn: u64| -> Result<_> {
        let found = with_frame(core, lsn, |frame, envelope| {
            let right = envelope.stream == number;
            (right, summary(frame, envelope), envelope.links)
        })?;
        match found {
            Some((false, ..)) => Err(Error::Inconsistent {
                lsn,
                what: format!("a link of stream number {number} leads to another stream"),
            }),
            Some((true, found, links)) => Ok(Some((found, links))),
            None => Ok(None),
        }
    };
    let Some((found, mut links)) = look(newest)? else {
        return Ok(None);
    };
    if early(&found) {
        return Ok(Some(found));
    }
    // The newest frame that is known to be early enough, or gone.
    let (mut early_lsn, mut best) = (None, None);
    'steps: loop {
        for lsn in links.as_slice().iter().rev().copied() {
            if early_lsn.is_some_and(|early_lsn| lsn <= early_lsn) {
                continue;
            }
            match look(lsn)? {
                Some((found, farther)) if !early(&found) => {
                    links = farther;
                    continue 'steps;
                }
                found => {
                    early_lsn = Some(lsn);
                    best = found.map(|(found, _)| found);
                }
            }
        }
        return Ok(best);
    }
}

/// The frames of a stream from `first` to `last`, whose LSNs these are, in their order.
pub(crate) fn frames_between(core: &Core, first: u64, last: u64) -> Result<Option<Vec<u64>>> {
    let mut lsns = vec![last];
    let mut at = last;
    while at > first {
        let before = with_frame(core, at, |_, envelope| {
            envelope.links.as_slice().first().copied()
        })?;
        let Some(Some(before)) = before else {
            return Ok(None);
        };
        lsns.push(before);
        at = before;
    }
    lsns.reverse();
    Ok(Some(lsns))
}

/// Where the append ends that has `position`, in the stream or what it was forked from; and what
/// that the stream is there, or not, rests on.
pub(crate) fn append_end(
    core: &Arc<Core>,
    name: &str,
    position: u64,
) -> Result<(std::result::Result<u64, Refusal>, RestsOn)> {
    let (number, rests_on) = {
        let mut part = core.table.of_name(name);
        let Found { outcome, rests_on } = core.find(&mut part, name)?;
        match outcome {
            Ok(slot) => {
                let number = part.at_mut(slot).map_or(0, |stream| stream.number);
                (number, rests_on)
            }
            Err(refusal) => return Ok((Err(refusal), rests_on)),
        }
    };
    Ok((append_end_of(core, number, position)?, rests_on))
}

fn append_end_of(
    core: &Core,
    mut number: u64,
    position: u64,
) -> Result<std::result::Result<u64, Refusal>> {
    let beyond = Refusal::BadFork("the source ends before it");
    let mut most = u64::MAX;
    loop {
        let mut part = core.table.of_number(number);
        let Some(stream) = part.numbered(number) else {
            return Ok(Err(Refusal::NotFound));
        };
        let (seen, moved_to, by_message) = (stream.visible(), stream.moved_to(), stream.by_message);
        if let Some(fork) = stream.fork().filter(|fork| position < fork.base) {
            most = most.min(fork.base);
            number = fork.parent;
            continue;
        }
        if position >= seen.tail {
            return Ok(Err(beyond));
        }
        let blocks = stream
            .extra
            .as_deref()
            .map_or(&[][..], |extra| &extra.moved);
        let block = blocks.iter().find(|block| block.end().position > position);
        let block = block.filter(|_| position < moved_to.position).copied();
        drop(part);
        if let Some(block) = block {
            if by_message {
                // Which messages came together is not known any more.
                return Ok(Ok(block.end().position.min(most)));
            }
            // Its pieces are the appends.
            let end = with_frame(core, block.lsn, |frame, _| {
                let mut end = block.first.position;
                for record in frame.records().skip(1) {
                    end += record.len() as u64;
                    if end > position {
                        break;
                    }
                }
                end
            })?;
            return Ok(end.map(|end| end.min(most)).ok_or(beyond));
        }
        let early = |frame: &FoundFrame| frame.first.position <= position;
        let found = newest_where(core, number, seen.newest, early)?;
        let end = found.map(|found| found.first.position + found.length.position);
        return Ok(end.map(|end| end.min(most)).ok_or(beyond));
    }
}
