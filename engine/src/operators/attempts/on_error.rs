//! What a stream does with records that fail.

use crate::codec::{message_pack, round_trip};
use crate::record::Value;
use crate::refused::policy::ErrorPolicy;

/// Writes and reads records that are put aside.
pub(crate) struct Codec<T> {
    pub(crate) copy: fn(&T) -> T,
    pub(crate) encode: fn(&T) -> Result<Vec<u8>, String>,
    pub(crate) decode: fn(&[u8]) -> Result<T, String>,
}

impl<T> Clone for Codec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Codec<T> {}

impl<T: Value> Codec<T> {
    pub(crate) fn new() -> Self {
        Self {
            copy: T::clone,
            encode: round_trip::encode::<T>,
            decode: message_pack::decode::<T>,
        }
    }
}

/// What a stream does with records that fail in the operators that read it.
pub(crate) struct OnError<T> {
    pub(crate) policy: ErrorPolicy,
    /// `None` where the policy was passed on from a stream with other records: then it is not known
    /// whether these can be written.
    pub(crate) codec: Option<Codec<T>>,
}

impl<T> Clone for OnError<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for OnError<T> {}

impl<T> Default for OnError<T> {
    fn default() -> Self {
        Self {
            policy: ErrorPolicy::default(),
            codec: None,
        }
    }
}

impl<T> OnError<T> {
    /// The same policy for a stream of other records.
    pub(crate) fn passed_on<U>(&self) -> OnError<U> {
        OnError {
            policy: self.policy,
            codec: None,
        }
    }
}
