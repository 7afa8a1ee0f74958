//! Deliberate faults of the log itself. A test rig that cannot fail proves nothing: the suite runs
//! its checks against a log that cheats and demands that they object. Only with the feature
//! `deliberate-faults`, which no release has: there `none.rs` takes its place. Not part of the API.

/// What the log does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Cheat {
    /// Nothing.
    #[default]
    None,
    /// Records are acknowledged before they are synced.
    AckBeforeSync,
    /// Recovery shows the frames that are not proven durable without writing them again.
    ShowWithoutRewrite,
    /// Recovery leaves intact frames after the end that it found.
    LeaveStaleFrames,
    /// `LOG` tells recovery to search only this many bytes after the end.
    ShortReach(u64),
    /// Segments are removed before the new start of the log is durable.
    UnlinkBeforeControl,
    /// The leader of a commit group panics.
    LeaderPanics,
    /// The leader of a commit group waits until this many threads wait for it.
    LeaderAwaits(usize),
}

/// What the log was told to do wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults(Cheat);

impl From<Cheat> for Faults {
    fn from(cheat: Cheat) -> Self {
        Self(cheat)
    }
}

impl Faults {
    /// Whether records are acknowledged before they are synced.
    pub(crate) fn acknowledge_before_sync(self) -> bool {
        self.0 == Cheat::AckBeforeSync
    }

    /// Whether recovery shows what it has not made durable.
    pub(crate) fn show_without_rewrite(self) -> bool {
        self.0 == Cheat::ShowWithoutRewrite
    }

    /// Whether recovery leaves frames that could become valid again.
    pub(crate) fn leave_stale_frames(self) -> bool {
        self.0 == Cheat::LeaveStaleFrames
    }

    /// How far after the end recovery will search, if not far enough.
    pub(crate) fn reach(self) -> Option<u64> {
        match self.0 {
            Cheat::ShortReach(reach) => Some(reach),
            _ => None,
        }
    }

    /// Whether files are removed before the new start of the log is durable.
    pub(crate) fn unlink_before_control(self) -> bool {
        self.0 == Cheat::UnlinkBeforeControl
    }

    /// What the leader does before it syncs.
    pub(crate) fn before_sync(self, waiting: impl Fn() -> usize) {
        match self.0 {
            cheat @ Cheat::LeaderPanics => assert!(cheat == Cheat::None, "as the test wants it"),
            Cheat::LeaderAwaits(others) => {
                while waiting() < others {
                    std::thread::yield_now();
                }
            }
            _ => {}
        }
    }
}
