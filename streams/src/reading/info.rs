//! Looking at a stream without reading it.

use crate::error::Result;
use crate::interface::position::Position;
use crate::interface::requests::StreamInfo;
use crate::shared::core::{Core, Found};
use crate::shared::decision::Decision;
use crate::state::stream::Stream;
use std::sync::Arc;

/// What is told of a stream that ends at `end`.
pub(crate) fn info_of(stream: &Stream, end: u64) -> StreamInfo {
    let start = match stream.fork() {
        // What it shares is its source's to give up.
        Some(fork) if stream.start.position == fork.base => 0,
        _ => stream.start.position,
    };
    StreamInfo {
        number: stream.number,
        content_type: stream.content_type.to_string(),
        is_json: stream.is_json,
        start: Position::new(start),
        end: Position::new(end),
        is_closed: stream.is_closed,
        lifetime: stream.lifetime().clone(),
    }
}

/// Looks at a stream: that is no use of it, so it lives no longer.
pub(crate) fn look(core: &Arc<Core>, name: &str) -> Result<Decision<StreamInfo>> {
    let mut part = core.table.of_name(name);
    let Found { outcome, rests_on } = core.find(&mut part, name)?;
    let outcome = outcome.map(|slot| {
        let stream = part.at_mut(slot).expect("it was found just now");
        info_of(stream, stream.tail.position)
    });
    Ok(Decision::new(core, outcome, rests_on))
}
