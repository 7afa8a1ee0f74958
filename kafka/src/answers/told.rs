//! Refusals as codes.

use crate::wire::error::Code;
use highwater_streams::{Error, Refusal};

/// The code of a refusal. Clients send again what they are told to; with all others they give up.
pub(crate) fn code_of(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NotFound | Refusal::Gone => Code::UnknownTopicOrPartition,
        Refusal::Truncated { .. } | Refusal::BeyondEnd { .. } => Code::OffsetOutOfRange,
        Refusal::StaleEpoch { .. } => Code::InvalidProducerEpoch,
        Refusal::Gap { .. } => Code::OutOfOrderSequence,
        Refusal::OldRetry { .. } => Code::DuplicateSequence,
        Refusal::TooLarge { .. } => Code::MessageTooLarge,
        Refusal::BadText { .. } => Code::InvalidTopic,
        Refusal::Closed { .. } | Refusal::TooManyStreams { .. } => Code::PolicyViolation,
        _ => Code::InvalidRequest,
    }
}

/// The log failed, is full, or is closed. Clients send it again.
pub(crate) fn failed(error: &Error, doing: &str) -> Code {
    if error.is_closed() {
        return Code::RequestTimedOut; // the program stops: perhaps it comes back
    }
    tracing::warn!(%error, "{doing} for a Kafka client");
    Code::KafkaStorageError
}
