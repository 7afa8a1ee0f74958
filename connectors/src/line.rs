//! What text sources carry.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// One line of text, without its line end: an immutable string that points into the mapped log, so that reading a
/// batch copies nothing.
///
/// It behaves as a `&str` that can be owned. A `Line` keeps the piece of the log that it came from mapped: what lives
/// longer than its batch (keys and values of state) should be a `String` of its own, `line.to_string()`.
///
/// ```
/// use highwater_connectors::Line;
/// let line = Line::from("to be or not to be");
/// assert_eq!(line.split_whitespace().count(), 6);
/// assert_eq!(line, "to be or not to be");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Line(ByteString);

impl Line {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Turns a record of the log into a line; checks that it is UTF-8.
    ///
    /// # Errors
    /// Where the bytes stop being UTF-8.
    pub fn decode(bytes: Bytes) -> Result<Self, String> {
        ByteString::try_from(bytes)
            .map(Self)
            .map_err(|e| e.to_string())
    }

    /// [`Self::decode`] in the form in which the engine wants it.
    pub(crate) fn decoder() -> highwater_engine::Decoder<Self> {
        Arc::new(Self::decode)
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Line {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Line {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Line {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Line {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self(ByteString::from(text))
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self(ByteString::from(text))
    }
}

impl From<Line> for String {
    fn from(line: Line) -> Self {
        line.0.into()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_line_shares_the_bytes_that_it_was_decoded_from() {
        let bytes = Bytes::from(b"zero copies".to_vec());
        let line = Line::decode(bytes.clone()).unwrap();
        assert_eq!(line.as_str().as_ptr(), bytes.as_ptr());
        assert_eq!(String::from(line), "zero copies");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_an_error() {
        assert!(Line::decode(Bytes::from_static(b"caf\xe9")).is_err());
    }

    #[test]
    fn it_can_be_looked_up_and_shown_as_a_str() {
        let counts = HashMap::from([(Line::from("word"), 7)]);
        assert_eq!(counts.get("word"), Some(&7));
        assert_eq!(
            format!("{:?} {:>6}", Line::from("a\"b"), Line::from("c")),
            "\"a\\\"b\"      c"
        );
    }
}
