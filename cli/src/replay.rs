//! `highwater replay`: a new program over the log of a directory, into a new one, and what differs.

use crate::args::ReplayArgs;
use crate::asked::Asked;
use crate::checkpoint::choice::choose;
use crate::checkpoint::diff::{self, Compared};
use crate::checkpoint::store::Found;
use highwater::disk::{Disk, OsDisk};
use highwater::{ReplayAnswer, Replayed};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;
use serde::Serialize;
use std::ffi::OsStr;

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    replayed: Replayed,
    compared: Compared,
}

/// Runs the command. Nothing in the directory is changed.
pub(crate) fn replay(args: &ReplayArgs, out: &mut Output) -> Result<Outcome> {
    let disk = OsDisk::new();
    let resolved = |dir| {
        let resolved = disk.resolve(dir);
        resolved.map_err(|e| Failure::io("cannot find", dir, &e))
    };
    let (dir, into) = (resolved(&args.dir)?, resolved(&args.into)?);
    let from = args.from.to_string();
    let asked = Asked {
        program: &args.program,
        arguments: &args.arguments,
        timeout: args.timeout,
    };
    let variables = [
        ("HIGHWATER_REPLAY", dir.as_os_str()),
        ("HIGHWATER_REPLAY_INTO", into.as_os_str()),
        ("HIGHWATER_REPLAY_FROM", OsStr::new(&from)),
    ];
    let replayed = match asked.ask(&variables, "HIGHWATER_REPLAY_ANSWER")? {
        ReplayAnswer::Replayed(replayed) => *replayed,
        ReplayAnswer::Refused(why) => return Err(Failure::Io(why)),
    };
    let (first, second) = (Found::read(&into.join("before"))?, Found::read(&into)?);
    let before = choose(&first, Some(replayed.before.0))?;
    let after = choose(&second, Some(replayed.after.0))?;
    let told = [before.problem, after.problem].into_iter().flatten().next();
    if let Some(problem) = told {
        return Err(Failure::Io(problem));
    }
    let sides = ((&first, before.manifest), (&second, after.manifest));
    let compared = Compared::new(sides, None, args.limit)?;
    let report = Report { replayed, compared };
    out.show(args.json, &report, print)?;
    Ok(Outcome::clean_if(report.compared.equal))
}

fn print(report: &Report, out: &mut Output) -> Result<()> {
    let Report { replayed, compared } = report;
    let origin = replayed.from.map_or_else(
        || "from the beginning of the log".to_owned(),
        |(number, batch)| format!("from checkpoint {number}, after batch {batch}"),
    );
    out.line(format!("replayed {} batches {origin}", replayed.batches))?;
    diff::print(compared, out)?;
    out.line(match compared.equal {
        true => "\nthe states are equal",
        false => "\nthe states DIFFER",
    })
}
