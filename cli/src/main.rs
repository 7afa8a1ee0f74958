//! The `highwater` command: see the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    highwater_cli::main()
}
