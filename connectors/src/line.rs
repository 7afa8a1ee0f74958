//! What text sources carry.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// One line of text, without its line end: an immutable string that owns its bytes. Cloning it
/// copies nothing.
///
/// It is an owned `&str` that keeps nothing of the log. It may live for any time, as a key or in a
/// value of state, alone or within other types.
///
/// ```
/// use highwater_connectors::Line;
/// let line = Line::from("to be or not to be");
/// assert_eq!(line.split_whitespace().count(), 6);
/// assert_eq!(line, "to be or not to be");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(Arc<str>);

impl Line {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Turns a record of the log into a line; checks that it is UTF-8. The bytes are copied. A
    /// slice of them would keep a whole segment of the log mapped, and its file on the disk, as
    /// long as the line lives.
    ///
    /// # Errors
    /// Where the bytes stop being UTF-8.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is a `Decoder`, which is handed the bytes"
    )]
    pub fn decode(bytes: Bytes) -> Result<Self, String> {
        let text = std::str::from_utf8(&bytes).map_err(|e| e.to_string())?;
        Ok(Self::from(text))
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
        Self(Arc::from(text))
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self(Arc::from(text))
    }
}

impl From<Line> for String {
    fn from(line: Line) -> Self {
        (*line.0).to_owned()
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
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

    struct Segment {
        _held: Arc<()>,
    }

    impl AsRef<[u8]> for Segment {
        fn as_ref(&self) -> &[u8] {
            b"one line of many"
        }
    }

    /// A line that was kept in state held the map and the file of its whole segment.
    #[test]
    fn a_line_keeps_nothing_of_the_log_and_its_clones_share_their_bytes() {
        let held = Arc::new(());
        let line = Line::decode(
            Bytes::from_owner(Segment {
                _held: Arc::clone(&held),
            })
            .slice(4..8),
        )
        .unwrap();
        assert_eq!((line.as_str(), Arc::strong_count(&held)), ("line", 1));
        assert_eq!(line.clone().as_str().as_ptr(), line.as_str().as_ptr());
        assert_eq!(String::from(line), "line");
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
