//! The `highwater-log` command: see the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    highwater_log::main()
}
