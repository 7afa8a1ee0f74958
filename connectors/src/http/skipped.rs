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

    pub(super) fn add(&mut self, place: Place, reason: String) {
        self.count += 1;
        if self.listed.len() < Self::LISTED {
            self.listed.push((place, reason));
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
