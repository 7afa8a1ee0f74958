//! An engine without deliberate faults: what is built unless the feature `deliberate-faults` is on.
//! Nothing can be set here, so the code that would do wrong is not there.

/// Nothing is wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults(());

impl Faults {
    pub(crate) const fn truncate_before_checkpoint(self) -> bool {
        false
    }

    pub(crate) const fn publish_before_commit(self) -> bool {
        false
    }

    pub(crate) const fn run_before_cut(self) -> bool {
        false
    }

    pub(crate) const fn forget_a_part(self) -> bool {
        false
    }

    pub(crate) const fn forget_refused(self) -> bool {
        false
    }

    pub(crate) const fn commit_before_letters(self) -> bool {
        false
    }

    pub(crate) const fn forget_replays(self) -> bool {
        false
    }
}
