//! Runs the built binary and looks at what it says.

#[path = "../../../tests/support/command.rs"]
mod command;

pub(crate) use command::*;
use highwater::disk;

const EXE: &str = env!("CARGO_BIN_EXE_highwater");
