//! Records: messages with a key, headers and a time of their own.
//!
//! `docs/format/streams.md` has the bytes.

use crate::frame::codec::{Bytes, put_bytes, put_number};

/// The version that is written, and the only one there is.
const VERSION: u8 = 1;

const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;
const HAS_TIME: u8 = 4;
const HAS_HEADERS: u8 = 8;
const KNOWN: u8 = 15;

/// A record: a message of a stream of the content type [`RECORDS`](crate::RECORDS), as Kafka's.
///
/// ```
/// use highwater_streams::RecordRef;
/// let record = RecordRef { key: Some(b"k"), value: Some(b"v"), ..RecordRef::default() };
/// let message = record.encode();
/// assert_eq!(RecordRef::decode(&message), Some(record));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordRef<'a> {
    /// What it is about.
    pub key: Option<&'a [u8]>,
    /// What it says; none says that the key is gone.
    pub value: Option<&'a [u8]>,
    /// Its producer's time, in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// Names and values, in order; a name may come twice.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl<'a> RecordRef<'a> {
    /// As a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// As a message, behind what is there.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let flag = |is_there, flag| if is_there { flag } else { 0 };
        let flags = flag(self.key.is_some(), HAS_KEY)
            | flag(self.value.is_some(), HAS_VALUE)
            | flag(self.timestamp_ms.is_some(), HAS_TIME)
            | flag(!self.headers.is_empty(), HAS_HEADERS);
        out.extend([VERSION, flags]);
        if let Some(ms) = self.timestamp_ms {
            put_number(out, zigzag(ms));
        }
        for part in [self.key, self.value].into_iter().flatten() {
            put_bytes(out, part);
        }
        if self.headers.is_empty() {
            return;
        }
        put_number(out, self.headers.len() as u64);
        for (name, value) in &self.headers {
            put_bytes(out, name.as_bytes());
            match value {
                None => put_number(out, 0),
                Some(value) => {
                    put_number(out, value.len() as u64 + 1);
                    out.extend_from_slice(value);
                }
            }
        }
    }

    /// The record of a message; `None` if the message is none.
    #[must_use]
    pub fn decode(message: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(message);
        let record = Self::read(&mut bytes)?;
        bytes.is_empty().then_some(record)
    }

    /// Takes messages apart that lie one behind the other; `None` if they are no records.
    ///
    /// ```
    /// use highwater_streams::RecordRef;
    /// let one = RecordRef { value: Some(b"v"), ..RecordRef::default() }.encode();
    /// let two = [&one[..], &one].concat();
    /// assert_eq!(RecordRef::split(&two), Some(vec![&one[..], &one]));
    /// assert_eq!(RecordRef::split(b"text"), None);
    /// ```
    #[must_use]
    pub fn split(body: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let (mut messages, mut rest) = (Vec::new(), body);
        while !rest.is_empty() {
            let mut bytes = Bytes(rest);
            Self::read(&mut bytes)?;
            let (message, behind) = rest.split_at_checked(rest.len() - bytes.0.len())?;
            messages.push(message);
            rest = behind;
        }
        Some(messages)
    }

    fn read(bytes: &mut Bytes<'a>) -> Option<Self> {
        if bytes.byte()? != VERSION {
            return None;
        }
        let flags = bytes.byte()?;
        if flags & !KNOWN != 0 {
            return None;
        }
        let has = |flag| (flags & flag != 0).then_some(());
        let timestamp_ms = match has(HAS_TIME) {
            Some(()) => Some(unzigzag(bytes.number()?)),
            None => None,
        };
        let mut part = |flag| match has(flag) {
            Some(()) => bytes.bytes().map(Some),
            None => Some(None),
        };
        let (key, value) = (part(HAS_KEY)?, part(HAS_VALUE)?);
        let mut headers = Vec::new();
        if has(HAS_HEADERS).is_some() {
            let count = bytes.number()?;
            if count == 0 {
                return None;
            }
            for _ in 0..count {
                headers.push((bytes.text()?, header_value(bytes)?));
            }
        }
        Some(Self {
            key,
            value,
            timestamp_ms,
            headers,
        })
    }
}

fn header_value<'a>(bytes: &mut Bytes<'a>) -> Option<Option<&'a [u8]>> {
    let Some(len) = bytes.number()?.checked_sub(1) else {
        return Some(None);
    };
    let (value, rest) = bytes.0.split_at_checked(usize::try_from(len).ok()?)?;
    bytes.0 = rest;
    Some(Some(value))
}

/// Small numbers of both signs become small ones.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_frozen() {
        let record = RecordRef {
            key: Some(b"k"),
            value: None,
            timestamp_ms: Some(-1),
            headers: vec![("a", None), ("a", Some(b"")), ("b", Some(b"v"))],
        };
        let bytes = record.encode();
        assert_eq!(bytes, b"\x01\x0d\x01\x01k\x03\x01a\x00\x01a\x01\x01b\x02v");
        assert_eq!(RecordRef::decode(&bytes), Some(record));
        for len in 0..bytes.len() {
            assert_eq!(RecordRef::decode(&bytes[..len]), None);
        }
        assert_eq!(RecordRef::default().encode(), [1, 0]);
    }

    proptest! {
        #[test]
        fn records_come_back_one_by_one_and_together(
            all in proptest::collection::vec(
                (
                    any::<Option<Vec<u8>>>(),
                    any::<Option<Vec<u8>>>(),
                    any::<Option<i64>>(),
                    any::<Vec<(String, Option<Vec<u8>>)>>(),
                ),
                0..5,
            )
        ) {
            let mut whole = Vec::new();
            let mut messages = Vec::new();
            for (key, value, timestamp_ms, headers) in &all {
                let headers = headers.iter().map(|(name, value)| (&**name, value.as_deref()));
                let record = RecordRef {
                    key: key.as_deref(),
                    value: value.as_deref(),
                    timestamp_ms: *timestamp_ms,
                    headers: headers.collect(),
                };
                let message = record.encode();
                prop_assert_eq!(RecordRef::decode(&message), Some(record));
                whole.extend_from_slice(&message);
                messages.push(message);
            }
            let expected: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(RecordRef::split(&whole), Some(expected));
        }

        /// What is read is written the same.
        #[test]
        fn any_bytes_are_a_record_or_none(mut bytes: Vec<u8>, flags in 0..16_u8) {
            bytes.splice(0..0, [VERSION, flags]);
            if let Some(record) = RecordRef::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}
