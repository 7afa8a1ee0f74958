//! The faults that a test can choose.

use clap::{Args, ValueEnum};
use std::process::Command;

/// What the child does wrong.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Faults {
    /// Break the child on purpose, to see that the demo notices
    #[arg(long, value_enum, default_value_t = Cheat::None, hide = true)]
    cheat: Cheat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cheat {
    /// Not at all
    None,
    /// Retries are not recognised: a line whose acknowledgement was lost counts twice
    NoDedup,
    /// Every thousandth line is acknowledged and dropped
    DropLines,
}

impl Faults {
    /// Whether a line that is sent again is recognised.
    pub(crate) fn recognise_retries(self) -> bool {
        self.cheat != Cheat::NoDedup
    }

    /// Whether the line of this number is counted.
    pub(crate) fn keep(self, number: u64) -> bool {
        self.cheat != Cheat::DropLines || number % 1000 != 7
    }

    /// Passes the fault on to the child.
    pub(crate) fn pass_on(self, command: &mut Command) {
        let cheat = self.cheat.to_possible_value();
        if let Some(cheat) = cheat.filter(|_| self.cheat != Cheat::None) {
            command.arg("--cheat").arg(cheat.get_name());
        }
    }
}
