//! How a program begins and ends: arguments, warnings, the exit code.

use crate::outcome::{Failure, Outcome, Result, code_of_usage};
use crate::output::{Messages, Output, tell};
use clap::Parser;
use std::process::ExitCode;

/// Parses the arguments, runs what they ask for, and returns the exit code.
pub fn run<C: Parser>(
    name: &str,
    command: impl FnOnce(&C, &mut Output) -> Result<Outcome>,
) -> ExitCode {
    let cli = match C::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // It fails if the reader has gone (`highwater-log --help | head -1`).
            let _ = error.print();
            return code_of_usage(&error);
        }
    };
    trace();
    let mut out = Output::stdout();
    let outcome = command(&cli, &mut out).and_then(|outcome| out.flush().map(|()| outcome));
    match outcome {
        Ok(outcome) => outcome.into(),
        Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            // Print what was found before the failure first.
            let _ = out.flush();
            tell(name, failure.to_string());
            failure.into()
        }
    }
}

/// Warnings of the library go to stderr; `RUST_LOG` asks for more.
fn trace() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Messages::default)
        .init();
}
