//! Features of a log that the first version of the format does not have. `LOG` names them before
//! the first frame that needs one is written.

use crate::format::frame::FrameKind;
use std::fmt;

/// What a version must know to open the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Frames that take records back.
    Void,
    /// Frames that say how far named consumers have come.
    Cursors,
    /// Durable-LSN records with a time.
    Time,
}

impl Feature {
    /// The feature of which frames of this kind are a part.
    pub(crate) fn of(kind: FrameKind) -> Option<Self> {
        match kind {
            FrameKind::Void => Some(Self::Void),
            FrameKind::Cursor => Some(Self::Cursors),
            FrameKind::DurableAt => Some(Self::Time),
            _ => None,
        }
    }
}

const ALL: [Feature; 3] = [Feature::Void, Feature::Cursors, Feature::Time];

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Void => "void",
            Self::Cursors => "cursors",
            Self::Time => "time",
        })
    }
}

/// A set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Features(u8);

impl Features {
    pub(crate) fn contains(self, feature: Feature) -> bool {
        self.0 & Self::bit(feature) != 0
    }

    pub(crate) fn with(self, feature: Feature) -> Self {
        Self(self.0 | Self::bit(feature))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether marks may be in the log.
    pub(crate) fn have_marks(self) -> bool {
        self.contains(Feature::Void) || self.contains(Feature::Cursors)
    }

    fn bit(feature: Feature) -> u8 {
        1 << feature as u8
    }

    /// The names, as `LOG` has them.
    pub(crate) fn names(self) -> Vec<String> {
        let there = ALL.iter().filter(|feature| self.contains(**feature));
        there.map(ToString::to_string).collect()
    }

    /// The set of these names, or the first name that is not known.
    pub(crate) fn of_names(names: &[String]) -> Result<Self, &str> {
        names.iter().try_fold(Self::default(), |set, name| {
            let known = ALL.iter().find(|feature| feature.to_string() == *name);
            known.map(|feature| set.with(*feature)).ok_or(&**name)
        })
    }
}
