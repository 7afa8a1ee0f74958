//! Positions in a stream, as clients see them.

use std::fmt;
use std::str::FromStr;

/// A position in a stream: how much comes before it, in messages for a JSON stream, in bytes for
/// another one. Positions have no holes, and say nothing of the log. A fork shares those of its
/// source.
///
/// As text it has two numbers of 16 digits, so that texts compare like positions:
///
/// ```
/// use highwater_streams::Position;
/// assert_eq!(Position::new(7).to_string(), "0000000000000000_0000000000000007");
/// assert_eq!("0000000000000000_0000000000000007".parse(), Ok(Position::new(7)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

/// The low number has as many values.
const LOW: u64 = 10_000_000_000_000_000;
const DIGITS: usize = 16;

impl Position {
    /// The beginning of every stream.
    pub const START: Self = Self(0);

    /// The position with so much before it.
    #[must_use]
    pub const fn new(before: u64) -> Self {
        Self(before)
    }

    /// How much comes before it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}_{:016}", self.0 / LOW, self.0 % LOW)
    }
}

/// A text that no position is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an offset is a text that a server has given: two numbers of 16 digits with _ between them"
)]
pub struct BadPosition;

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let (high, low) = text.split_once('_').ok_or(BadPosition)?;
        let number = |digits: &str| {
            let sound = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
            sound.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let (high, low) = (
            number(high).ok_or(BadPosition)?,
            number(low).ok_or(BadPosition)?,
        );
        let before = high.checked_mul(LOW).and_then(|high| high.checked_add(low));
        before.map(Self).ok_or(BadPosition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_compare_like_positions_and_come_back(a: u64, b: u64) {
            let (a, b) = (Position(a), Position(b));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn any_text_that_is_read_is_written_the_same(text in "[0-9_+]{30,36}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "-1",
            "now",
            "7",
            "0000000000000000",
            "0000000000000000_000000000000007",
        ] {
            assert_eq!(text.parse::<Position>(), Err(BadPosition), "{text:?}");
        }
        let beyond = "9999999999999999_9999999999999999";
        assert_eq!(beyond.parse::<Position>(), Err(BadPosition));
    }
}
