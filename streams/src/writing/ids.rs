//! Ids for producers.

use crate::error::{Error, Result};
use crate::frame::envelope::{Envelope, Kind, Place};
use crate::frame::links::Links;
use crate::shared::core::Core;
use crate::shared::decision::Decision;
use highwater_wal::Admission;
use std::sync::Arc;

/// An id that is given once: the place of a frame in the log, which is durable before it is told.
/// No counter is kept, so that there is none to lose.
pub(crate) fn new_producer_id(core: &Arc<Core>) -> Result<Decision<u64>> {
    let envelope = Envelope {
        kind: Kind::Id,
        stream: 0,
        index: 0,
        first: Place::default(),
        length: Place::default(),
        received_ms: core.wall_ms(),
        links: Links::default(),
        closes: false,
        mark: None,
        batch: None,
        stream_sequence: None,
        config: None,
        start: None,
    };
    match core.append(&envelope, &[], Admission::Ordinary)? {
        Ok(range) => {
            let id = range.first.get();
            Ok(Decision::new(core, Ok(id), Some((id, 0))))
        }
        Err(refusal) => Err(Error::Inconsistent {
            lsn: core.durable(),
            what: format!("a frame without data does not fit: {refusal}"),
        }),
    }
}
