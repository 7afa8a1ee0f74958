//! The first record of a source's frame.
//!
//! A source's data are batch frames of the source's stream. The first record of the frame is its
//! *header* (the producer's offset). The others are the received records; after a crash, all or
//! none of them are in the log.

use crate::codec::message_pack;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// "Everything of `producer` up to `sequence` is in the log."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) producer: String,
    pub(crate) sequence: u64,
}

/// Encodes the first record of a source's frame.
pub(crate) fn encode_envelope(mark: Option<&Mark>) -> Vec<u8> {
    mark.map_or_else(Vec::new, |mark| {
        message_pack::encode(mark).expect("marks serialise")
    })
}

/// Decodes the first record of a source's frame.
pub(crate) fn decode_envelope(bytes: &[u8]) -> Result<Option<Mark>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    message_pack::decode(bytes).map(Some)
}

/// The first record of a data frame.
pub(crate) fn envelope_of(record: Option<&[u8]>) -> Result<Option<Mark>, String> {
    record.map_or_else(
        || Err("a frame without records".to_owned()),
        decode_envelope,
    )
}
