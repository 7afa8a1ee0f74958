//! Looking at a stream without reading it.

use crate::error::Result;
use crate::interface::media_type;
use crate::interface::position::Position;
use crate::interface::requests::StreamInfo;
use crate::shared::core::{Core, Found};
use crate::shared::decision::Decision;
use crate::state::stream::Stream;
use std::collections::BTreeSet;
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
        is_json: media_type::is_json(&stream.content_type),
        counts_messages: stream.by_message,
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

/// The content type of a stream as of now: it may not last.
pub(crate) fn content_type_hint(core: &Core, name: &str) -> Option<Arc<str>> {
    let mut part = core.table.of_name(name);
    let slot = part.slot_of_name(name)?;
    let stream = part.at_mut(slot)?;
    Some(Arc::clone(&stream.content_type))
}

/// Names of streams that begin with `prefix`, in their order: `most` of them.
pub(crate) fn names(core: &Core, prefix: &str, most: usize) -> Vec<String> {
    let mut names = BTreeSet::new();
    let durable = core.durable();
    for mut part in core.table.each() {
        for stream in part.streams_mut() {
            if !stream.name.starts_with(prefix) {
                continue;
            }
            stream.settle(durable);
            let seen = stream.visible();
            if seen.exists && !seen.is_deleted {
                names.insert(stream.name.to_string());
            }
            if names.len() > most {
                names.pop_last();
            }
        }
    }
    names.into_iter().collect()
}
