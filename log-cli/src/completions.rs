//! What a shell needs to complete the arguments of a command.

use crate::outcome::Result;
use crate::output::Output;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use std::io::Write;

/// For which shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions of the command `C`, which is called `name`.
///
/// # Errors
/// If the output cannot be written.
pub fn print<C: CommandFactory>(
    args: &CompletionsArgs,
    name: &str,
    out: &mut Output,
) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut C::command(), name, &mut script);
    out.write_all(&script)
        .map_err(|e| crate::output::failure(&e))
}
