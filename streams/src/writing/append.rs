//! Appending to a stream, closing it, and deleting it.
//!
//! What is looked at, numbering, the append and what it changes happen under the lock of the
//! stream's part, and nothing is waited for in between.

use crate::error::Result;
use crate::frame::batch::Batch;
use crate::frame::envelope::{Kind, Mark};
use crate::interface::bounds::{MAX_TEXT_BYTES, check_text};
use crate::interface::position::Position;
use crate::interface::refusal::Refusal;
use crate::interface::requests::{Append, Appended, Then};
use crate::shared::core::{Core, Found, Said};
use crate::shared::decision::Decision;
use crate::state::stream::Stream;
use crate::writing::admit::{Admitted, admit};
use std::sync::Arc;

pub(crate) fn append(
    core: &Arc<Core>,
    name: &str,
    request: &Append<'_>,
) -> Result<Decision<Appended>> {
    if let Err(refusal) = check_request(request) {
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
    let seen = match admit(stream, request, mark.as_ref()) {
        Ok(seen) => seen,
        Err(refusal) => return Ok(Decision::new(core, Err(refusal), rests_on)),
    };
    if let Admitted::Before { sequence, first } = seen {
        let told = appended(stream, mark.map(|_| sequence), first, true);
        return Ok(Decision::new(core, Ok(told), rests_on));
    }
    let first = stream.tail.position;
    let kind = match request.messages.is_empty() {
        true => Kind::Close,
        false => Kind::Data,
    };
    let said = Said {
        closes: request.then == Then::Closed,
        mark,
        batch: request.batch,
        stream_sequence: request.stream_sequence,
        start: None,
    };
    if let Err(refusal) = core.append_next(&mut part, slot, kind, request.messages, said)? {
        return Ok(Decision::new(core, Err(refusal), rests_on));
    }
    let stream = part.at_mut(slot).expect("it was found just now");
    let sequence = mark.map(|mark| mark.sequence);
    let told = appended(stream, sequence, Some(first), false);
    let rests_on = Some((stream.chain.newest, stream.number));
    Ok(Decision::new(core, Ok(told), rests_on))
}

/// Whether the request has only what a frame can say. What is wrong must not get into the log: it
/// would be refused there at the next start.
fn check_request(request: &Append<'_>) -> std::result::Result<(), Refusal> {
    if let Some(batch) = &request.batch {
        Batch::number(batch.first.into()).ok_or(Refusal::NoNumber)?;
    }
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

fn appended(
    stream: &Stream,
    sequence: Option<u64>,
    first: Option<u64>,
    is_duplicate: bool,
) -> Appended {
    Appended {
        is_duplicate,
        first: first.map(Position::new),
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
