//! No faults: built unless the feature `deliberate-faults` is on.

use clap::Args;
use std::process::Command;

/// No faults, and no option for them.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Faults {}

impl Faults {
    pub(crate) const fn recognise_retries(self) -> bool {
        true
    }

    pub(crate) const fn keep(self, _number: u64) -> bool {
        true
    }

    pub(crate) const fn pass_on(self, _command: &mut Command) {}
}
