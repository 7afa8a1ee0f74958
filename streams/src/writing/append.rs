//! Appending to a stream, closing it, and deleting it.
//!
//! What is looked at, numbering, the append and what it changes happen under the lock of the
//! stream's part, and nothing is waited for in between.

use crate::error::Result;
use crate::frame::envelope::{Kind, Mark};
use crate::interface::bounds::{MAX_TEXT_BYTES, check_text};
use crate::interface::media_type;
use crate::interface::position::Position;
use crate::interface::refusal::Refusal;
use crate::interface::requests::{Append, Appended, Then};
use crate::shared::core::{Core, Found, Said};
use crate::shared::decision::Decision;
use crate::state::producers::Seen;
use crate::state::stream::Stream;
use std::sync::Arc;

pub(crate) fn append(
    core: &Arc<Core>,
    name: &str,
    request: &Append<'_>,
) -> Result<Decision<Appended>> {
    if let Err(refusal) = check_texts(request) {
        return Ok(Decision::new(core, Err(refusal), None));
    }
    let mark = request.producer.map(|producer| Mark {
        producer: producer.id,
        epoch: producer.epoch,
        sequence: producer.sequence,
    });
    let mut part = core.table.of_name(name);
    let Found { outcome, rests_on } = core.find(&mut part, name)?;
    let slot = match outcome {
        Ok(slot) => slot,
        Err(refusal) => return Ok(Decision::new(core, Err(refusal), rests_on)),
    };
    let stream = part.at_mut(slot).expect("it was found just now");
    stream.touched_ms = core.now_ms();
    match check(stream, request, mark.as_ref()) {
        Ok(Checked::New) => {}
        Ok(Checked::Before(sequence)) => {
            let told = appended(stream, mark.map(|_| sequence), true);
            return Ok(Decision::new(core, Ok(told), rests_on));
        }
        Err(refusal) => return Ok(Decision::new(core, Err(refusal), rests_on)),
    }
    let kind = match request.messages.is_empty() {
        true => Kind::Close,
        false => Kind::Data,
    };
    let said = Said {
        closes: request.then == Then::Closed,
        mark,
        stream_sequence: request.stream_sequence,
        start: None,
    };
    if let Err(refusal) = core.append_next(&mut part, slot, kind, request.messages, said)? {
        return Ok(Decision::new(core, Err(refusal), rests_on));
    }
    let stream = part.at_mut(slot).expect("it was found just now");
    let told = appended(stream, mark.map(|mark| mark.sequence), false);
    let rests_on = Some((stream.chain.newest, stream.number));
    Ok(Decision::new(core, Ok(told), rests_on))
}

fn check_texts(request: &Append<'_>) -> std::result::Result<(), Refusal> {
    if let Some(producer) = &request.producer {
        check_text(
            "the id of a producer",
            producer.id.as_bytes(),
            MAX_TEXT_BYTES,
        )?;
    }
    match request.stream_sequence {
        Some(sequence) => check_text("the sequence", sequence, MAX_TEXT_BYTES),
        None => Ok(()),
    }
}

/// What a request that may be accepted is.
enum Checked {
    New,
    /// Accepted before; the highest sequence of its producer.
    Before(u64),
}

/// In the order in which refusals go first.
fn check(
    stream: &Stream,
    request: &Append<'_>,
    mark: Option<&Mark<'_>>,
) -> std::result::Result<Checked, Refusal> {
    let extra = stream.extra.as_deref();
    let closed = || Refusal::Closed {
        end: Position::new(stream.tail.position),
    };
    let known = mark.map(|mark| match extra {
        Some(extra) => extra.producers.check(mark),
        None => crate::state::producers::Producers::default().check(mark),
    });
    if stream.is_closed {
        return match (mark, known) {
            (Some(_), Some(Ok(Seen::Before(sequence)))) => Ok(Checked::Before(sequence)),
            (Some(_), Some(Err(stale @ Refusal::StaleEpoch { .. }))) => Err(stale),
            // To close what is closed changes nothing.
            (None, _) if request.messages.is_empty() => Ok(Checked::Before(0)),
            _ => Err(closed()),
        };
    }
    let has_type = !request.messages.is_empty();
    if has_type
        && !request
            .content_type
            .is_some_and(|t| media_type::is_same(t, &stream.content_type))
    {
        let expected = stream.content_type.to_string();
        return Err(Refusal::ContentType { expected });
    }
    match known.transpose()? {
        Some(Seen::Before(sequence)) => return Ok(Checked::Before(sequence)),
        Some(Seen::New) | None => {}
    }
    let last = extra.and_then(|extra| extra.stream_sequence.as_deref());
    match (last, request.stream_sequence) {
        (Some(last), Some(new)) if new <= last => Err(Refusal::StreamSequence),
        _ => Ok(Checked::New),
    }
}

fn appended(stream: &Stream, sequence: Option<u64>, is_duplicate: bool) -> Appended {
    Appended {
        is_duplicate,
        end: Position::new(stream.tail.position),
        is_closed: stream.is_closed,
        sequence,
        lsn: stream.chain.newest,
    }
}

/// Deletes a stream.
pub(crate) fn delete(core: &Arc<Core>, name: &str) -> Result<Decision<()>> {
    let mut part = core.table.of_name(name);
    let Found { outcome, rests_on } = core.find(&mut part, name)?;
    let slot = match outcome {
        Ok(slot) => slot,
        Err(refusal) => return Ok(Decision::new(core, Err(refusal), rests_on)),
    };
    if let Err(refusal) = core.append_next(&mut part, slot, Kind::Delete, &[], Said::default())? {
        return Ok(Decision::new(core, Err(refusal), rests_on));
    }
    let stream = part.at_mut(slot).expect("it was found just now");
    let rests_on = Some((stream.chain.newest, stream.number));
    Ok(Decision::new(core, Ok(()), rests_on))
}
