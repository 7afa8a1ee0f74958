//! Whether an append is accepted: in the order in which refusals go first.

use crate::frame::envelope::Mark;
use crate::interface::media_type;
use crate::interface::position::Position;
use crate::interface::refusal::Refusal;
use crate::interface::requests::Append;
use crate::state::batches::{Batches, SeenBatch};
use crate::state::producers::{Producers, Seen};
use crate::state::stream::Stream;

/// What a request that may be accepted is.
pub(crate) enum Admitted {
    New,
    /// Accepted before: the highest sequence of its producer, and where its messages begin, as far
    /// as that is known.
    Before {
        sequence: u64,
        first: Option<u64>,
    },
}

/// What its producer says of it.
enum Known {
    New,
    Before { sequence: u64, first: Option<u64> },
}

/// Whether the stream takes the request.
///
/// # Errors
/// Why not.
pub(crate) fn admit(
    stream: &Stream,
    request: &Append<'_>,
    mark: Option<&Mark<'_>>,
) -> Result<Admitted, Refusal> {
    let known = known(stream, request, mark);
    let before = |sequence, first| Ok(Admitted::Before { sequence, first });
    if stream.is_closed {
        return match known {
            Ok(Some(Known::Before { sequence, first })) => before(sequence, first),
            Err(stale @ Refusal::StaleEpoch { .. }) => Err(stale),
            // To close what is closed changes nothing.
            Ok(None) if request.messages.is_empty() => before(0, None),
            _ => Err(Refusal::Closed {
                end: Position::new(stream.tail.position),
            }),
        };
    }
    if !request.messages.is_empty() {
        let is_same = |text| media_type::is_same(text, &stream.content_type);
        if !request.content_type.is_some_and(is_same) {
            let expected = stream.content_type.to_string();
            return Err(Refusal::ContentType { expected });
        }
    }
    if let Some(Known::Before { sequence, first }) = known? {
        return before(sequence, first);
    }
    let last = stream.extra.as_deref();
    let last = last.and_then(|extra| extra.stream_sequence.as_deref());
    match (last, request.stream_sequence) {
        (Some(last), Some(new)) if new <= last => Err(Refusal::StreamSequence),
        _ => Ok(Admitted::New),
    }
}

/// `None` if the request has no producer.
fn known(
    stream: &Stream,
    request: &Append<'_>,
    mark: Option<&Mark<'_>>,
) -> Result<Option<Known>, Refusal> {
    let extra = stream.extra.as_deref();
    if let Some(batch) = &request.batch {
        // An append without messages takes no number, so a retry of it could not be told.
        if !stream.by_message || request.messages.is_empty() {
            return Err(Refusal::NoMessages);
        }
        let none = Batches::default();
        let batches = extra.and_then(|extra| extra.batches.as_deref());
        let seen = batches
            .unwrap_or(&none)
            .check(batch, request.messages.len() as u64)?;
        if let SeenBatch::Before(first) = seen {
            let (sequence, first) = (0, Some(first));
            return Ok(Some(Known::Before { sequence, first }));
        }
    }
    let Some(mark) = mark else {
        return Ok(request.batch.map(|_| Known::New));
    };
    let none = Producers::default();
    let producers = extra.map_or(&none, |extra| &extra.producers);
    Ok(Some(match producers.check(mark)? {
        Seen::New => Known::New,
        Seen::Before(sequence) => Known::Before {
            sequence,
            first: None,
        },
    }))
}
