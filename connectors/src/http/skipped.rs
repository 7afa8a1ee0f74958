//! Records that were left out of a request, because its client has asked for that.

use serde_json::{Value, json};
use std::fmt;

/// Where a record is in its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Line(usize),
    Element(usize),
    Body,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Element(element) => write!(f, "element {element}"),
            Self::Body => f.write_str("the body"),
        }
    }
}

/// What was left out of a request, because the client has asked for that.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    pub(super) count: usize,
    /// The first of them.
    listed: Vec<(Place, String)>,
}

impl Skipped {
    /// So many are told one by one.
    const LISTED: usize = 100;

    /// One more. Where it was is asked for only while it is told: a request may have a million, and
    /// the line of each would be counted from the beginning.
    pub(super) fn add(&mut self, reason: String, place: impl FnOnce() -> Place) {
        self.count += 1;
        if self.listed.len() < Self::LISTED {
            self.listed.push((place(), reason));
        }
    }

    /// As the client is told.
    pub(super) fn told(&self) -> Value {
        let listed = self.listed.iter();
        let listed =
            listed.map(|(place, reason)| json!({ "at": place.to_string(), "reason": reason }));
        json!({ "count": self.count, "first": listed.collect::<Vec<_>>() })
    }

    /// The first one.
    pub(super) fn first(&self) -> Option<String> {
        let first = self.listed.first();
        first.map(|(place, reason)| format!("{place}: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of each bad line was looked for, and mostly thrown away: the square of their
    /// number.
    #[test]
    fn only_what_is_told_is_looked_for() {
        let (mut skipped, mut looked) = (Skipped::default(), 0);
        for line in 0..1000 {
            skipped.add("bad".to_owned(), || {
                looked += 1;
                Place::Line(line)
            });
        }
        assert_eq!((looked, skipped.count), (Skipped::LISTED, 1000));
    }
}
