//! `highwater checkpoint list`.

use crate::args::CheckpointArgs;
use crate::checkpoint::store::Found;
use crate::message::tell;
use highwater::checkpoint::Inspected;
use highwater_log::outcome::{Outcome, Result};
use highwater_log::output::{Output, render, table};
use highwater_log::text;
use serde::Serialize;

/// A checkpoint as it is printed.
#[derive(Debug, Serialize)]
struct Row {
    number: u64,
    batch: Option<u64>,
    created_ms: Option<u64>,
    created: Option<String>,
    lsn: Option<u64>,
    states: Option<usize>,
    keys: Option<u64>,
    bytes: Option<u64>,
    valid: bool,
    /// Whether it is of a log that is gone, in a place where another one goes on.
    of_a_lost_log: bool,
    /// Why not.
    problem: Option<String>,
    /// Whether recovery would take it.
    recovery: bool,
}

/// Runs the command.
pub(crate) fn list(args: &CheckpointArgs, out: &mut Output) -> Result<Outcome> {
    let found = Found::read(&args.dir)?;
    let taken = found.recovered_from().map(|manifest| manifest.number);
    let rows: Vec<Row> = found
        .checkpoints
        .iter()
        .map(|c| row(&found, c, taken))
        .collect();
    out.show(args.json, &rows, |rows, out| print(rows, &found, out))?;
    if args.json
        && let Some(problem) = &found.uncovered
    {
        tell(problem); // the list itself is empty
    }
    let clean = rows.iter().all(|row| row.valid)
        && (taken.is_some() || (rows.is_empty() && found.uncovered.is_none()));
    Ok(Outcome::clean_if(clean))
}

fn row(found: &Found, checkpoint: &Inspected, taken: Option<u64>) -> Row {
    let problem = found.problem(checkpoint);
    let manifest = checkpoint.manifest.as_ref();
    Row {
        number: checkpoint.number,
        batch: manifest.map(|m| m.batch.id),
        created_ms: manifest.map(|m| m.created_ms),
        created: manifest.map(|m| text::utc(m.created_ms)),
        lsn: manifest.map(|m| m.lsn),
        states: manifest.map(|m| m.states.len()),
        keys: manifest.map(|m| m.states.iter().map(|s| s.entries).sum()),
        bytes: manifest.map(|m| m.state_bytes()),
        valid: problem.is_none(),
        of_a_lost_log: manifest.is_some_and(|m| found.is_predecessors(m)),
        problem,
        recovery: taken == Some(checkpoint.number),
    }
}

fn print(rows: &[Row], found: &Found, out: &mut Output) -> Result<()> {
    if rows.is_empty() {
        let whole = || "there are no checkpoints: recovery reads the whole log".to_owned();
        return out.line(found.uncovered.clone().unwrap_or_else(whole));
    }
    let mut lines = table(&[
        "#number",
        "#batch",
        "time (UTC)",
        "#LSN",
        "#states",
        "#keys",
        "#bytes",
        "is",
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        let is = match (row.valid, row.recovery) {
            (_, true) => "valid, recovery takes it",
            (true, false) if row.of_a_lost_log => "valid, of a log that is gone",
            (true, false) => "valid",
            (false, false) => "NOT USABLE",
        };
        lines.add_row([
            row.number.to_string(),
            or_dash(row.batch.map(|n| n.to_string())),
            or_dash(row.created.clone()),
            or_dash(row.lsn.map(|n| n.to_string())),
            or_dash(row.states.map(|n| n.to_string())),
            or_dash(row.keys.map(text::grouped)),
            or_dash(row.bytes.map(text::bytes)),
            is.to_owned(),
        ]);
    }
    out.line(render(&lines))?;
    for row in rows {
        if let Some(problem) = &row.problem {
            out.line(format!(
                "\ncheckpoint {} is not usable: {problem}",
                row.number
            ))?;
        }
    }
    if !rows.iter().any(|row| row.recovery) {
        out.line("\nno checkpoint is usable: starting the engine will refuse and say what to do")?;
    }
    Ok(())
}
