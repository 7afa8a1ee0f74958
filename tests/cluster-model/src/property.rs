//! The invariants, by name.

use std::fmt;

/// An invariant of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Property {
    /// What was acknowledged is in its log, or counted in a checkpoint, and is run.
    NothingIsLost,
    /// No range of a log is counted twice.
    NothingIsCountedTwice,
    /// A published part belongs to a committed batch.
    PublishedIsCommitted,
    /// A part is the same whenever and by whichever generation it is made.
    PartsAreTheSame,
    /// All parts of a committed batch are durable.
    CommittedIsStaged,
    /// A manifest names only batches whose parts all are published.
    ManifestIsPublished,
    /// The state files that a manifest names are there, and hold the state at its batch.
    StateFilesAreThere,
    /// No log is truncated past what the oldest retained manifest needs of it.
    LogIsKept,
    /// Once a newer generation has begun, an older one commits nothing and writes no manifest.
    OneGenerationCommits,
    /// A batch has the same cuts in every generation that runs it.
    SameCuts,
    /// Without further faults the program comes to its end, or refuses with a reason.
    Progress,
    /// There are not more generations than faults explain.
    FewGenerations,
    /// The steps come in the order that the protocol demands. Judged in traces only.
    Order,
}

/// All that the model is checked for.
pub const PROPERTIES: [Property; 12] = [
    Property::NothingIsLost,
    Property::NothingIsCountedTwice,
    Property::PublishedIsCommitted,
    Property::PartsAreTheSame,
    Property::CommittedIsStaged,
    Property::ManifestIsPublished,
    Property::StateFilesAreThere,
    Property::LogIsKept,
    Property::OneGenerationCommits,
    Property::SameCuts,
    Property::Progress,
    Property::FewGenerations,
];

impl Property {
    /// Its bit in a set.
    pub fn bit(self) -> u16 {
        1 << self as u16
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NothingIsLost => "nothing acknowledged is lost",
            Self::NothingIsCountedTwice => "nothing is counted twice",
            Self::PublishedIsCommitted => "what is published is committed",
            Self::PartsAreTheSame => "parts are the same whatever happens",
            Self::CommittedIsStaged => "what is committed is staged",
            Self::ManifestIsPublished => "a manifest names what is published by all",
            Self::StateFilesAreThere => "the state files of a manifest are there",
            Self::LogIsKept => "no log is truncated too far",
            Self::OneGenerationCommits => "one generation commits",
            Self::SameCuts => "a batch has the same cuts in every generation",
            Self::Progress => "there is a way on",
            Self::FewGenerations => "generations are few",
            Self::Order => "the steps are in order",
        }
    }
}

/// An invariant that does not hold, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub property: Property,
    /// What was found, at which process.
    pub why: String,
}

impl Violation {
    /// `Err` of one, for a judge.
    pub fn of<T>(property: Property, why: impl Into<String>) -> Result<T, Self> {
        let why = why.into();
        Err(Self { property, why })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property.name(), self.why)
    }
}

impl std::error::Error for Violation {}
