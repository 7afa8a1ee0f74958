//! What is wrong with a request, and what its client is told.

/// A request that is none. Nothing of it was done, and its connection ends: where the next one
/// begins is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request is malformed: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Codes of the [protocol](https://kafka.apache.org/protocol#protocol_error_codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub(crate) enum Code {
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    InvalidTopic = 17,
    InvalidRequiredAcks = 21,
    GroupAuthorizationFailed = 30,
    UnsupportedSaslMechanism = 33,
    UnsupportedVersion = 35,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    PolicyViolation = 44,
    OutOfOrderSequence = 45,
    DuplicateSequence = 46,
    InvalidProducerEpoch = 47,
    TransactionalIdAuthorizationFailed = 53,
    KafkaStorageError = 56,
    SaslAuthenticationFailed = 58,
    UnsupportedCompressionType = 76,
    InvalidRecord = 87,
}

impl Code {
    pub(crate) fn number(self) -> i16 {
        self as i16
    }
}
