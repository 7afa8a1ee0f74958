//! A log without deliberate faults: what is built unless the feature `deliberate-faults` is on.
//! Nothing can be set here, so the code that would do wrong is not there.

/// Nothing is wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults(());

impl Faults {
    pub(crate) const fn acknowledge_before_sync(self) -> bool {
        false
    }

    pub(crate) const fn show_without_rewrite(self) -> bool {
        false
    }

    pub(crate) const fn leave_stale_frames(self) -> bool {
        false
    }

    pub(crate) const fn reach(self) -> Option<u64> {
        None
    }

    pub(crate) const fn unlink_before_control(self) -> bool {
        false
    }

    pub(crate) fn before_sync(self, _waiting: impl Fn() -> usize) {}
}
