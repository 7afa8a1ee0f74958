//! `highwater checkpoint check`: asks a program what it would do with a directory.

use crate::args::CheckArgs;
use crate::asked::Asked;
use highwater::DryRunAnswer;
use highwater::disk::{Disk, OsDisk};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;

/// Runs the command. Nothing in the directory is changed.
pub(crate) fn check(args: &CheckArgs, out: &mut Output) -> Result<Outcome> {
    let disk = OsDisk::new();
    let dir = disk
        .resolve(&args.dir)
        .map_err(|e| Failure::io("cannot find", &args.dir, &e))?;
    let asked = Asked {
        program: &args.program,
        arguments: &args.arguments,
        timeout: args.timeout,
    };
    let variables = [("HIGHWATER_DRY_RUN", dir.as_os_str())];
    let answer: DryRunAnswer = asked.ask(&variables, "HIGHWATER_DRY_RUN_ANSWER")?;
    out.show(args.json, &answer, |answer, out| match answer {
        DryRunAnswer::Fits(report) => {
            out.line(report.to_string().trim_end())?;
            out.line("\nthe program fits: nothing was changed")
        }
        DryRunAnswer::Refused(why) => {
            out.line("the program would be REFUSED, and nothing changed:\n")?;
            out.line(why)
        }
    })?;
    Ok(Outcome::clean_if(matches!(answer, DryRunAnswer::Fits(_))))
}
