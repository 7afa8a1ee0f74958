//! Deliberate faults of the log itself. A test rig that cannot fail proves nothing: the suite runs its checks against
//! a log that cheats and demands that they object. Not part of the API.

/// What the log does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Cheat {
    /// Nothing.
    #[default]
    None,
    /// Records are acknowledged before they are synced.
    AckBeforeSync,
    /// Recovery shows the un-attested tail without writing it again.
    ShowWithoutRewrite,
    /// Recovery leaves intact frames behind the cut.
    LeaveStaleFrames,
    /// `LOG` tells recovery to search only so many bytes behind the end.
    ShortReach(u64),
    /// Segments are removed before the new start of the log is durable.
    UnlinkBeforeMeta,
    /// Whoever leads a commit group panics.
    LeaderPanics,
    /// Whoever leads a commit group waits until so many others wait for it.
    LeaderAwaits(usize),
}
