//! The `highwater-log` command: looks into write-ahead logs, recovers damaged ones, judges disks.
//!
//! The texts of `--help` are in `args`; `docs/cli.md` shows what the commands print. It is a
//! library so that other commands can have the same ones below a name of their own: `highwater log`
//! does, and says with [`program::EngineRecords`] what it knows of the records of an engine.
//!
//! | file | holds |
//! |---|---|
//! | `args/` | the command line, for parsing and for `--help` |
//! | `commands/` | the commands |
//! | `completions` | what a shell needs to complete arguments |
//! | `program` | the program that runs them, and what it knows of who writes a log |
//! | `process` | how a program begins and ends |
//! | `outcome` | how a command ends, and the exit codes |
//! | `output`, `text` | printing, values as text |

pub mod args;
mod commands;
pub mod completions;
pub mod outcome;
pub mod output;
pub mod process;
pub mod program;
pub mod text;

pub use commands::run;

use args::{Cli, Command};
use outcome::Outcome;
use program::Program;
use std::process::ExitCode;

/// Runs the command that the arguments name, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let program = Program {
        name: "highwater-log",
        command: "highwater-log",
        engine: None,
    };
    process::run(program.name, |cli: &Cli, out| match &cli.command {
        Command::Log(command) => run(command, &program, out),
        Command::Completions(args) => {
            completions::print::<Cli>(args, program.name, out).map(|()| Outcome::Clean)
        }
    })
}
