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
pub(crate) struct ProducerOffset {
    pub(crate) producer: String,
    pub(crate) sequence: u64,
}

/// Encodes the first record of a source's frame.
pub(crate) fn encode_header(offset: Option<&ProducerOffset>) -> Vec<u8> {
    offset.map_or_else(Vec::new, |offset| {
        message_pack::encode(offset).expect("offsets serialise")
    })
}

/// Decodes the first record of a source's frame.
pub(crate) fn decode_header(record: Option<&[u8]>) -> Result<Option<ProducerOffset>, String> {
    match record {
        None => Err("a frame without records".to_owned()),
        Some([]) => Ok(None),
        Some(bytes) => message_pack::decode(bytes).map(Some),
    }
}
