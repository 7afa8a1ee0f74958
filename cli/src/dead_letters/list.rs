//! `highwater dead-letters list`.

use crate::args::DeadLettersArgs;
use crate::dead_letters::store::Chosen;
use highwater_log::outcome::{Outcome, Result};
use highwater_log::output::{Output, add_row, render, table};
use highwater_log::text;
use serde::Serialize;

/// A letter as it is printed.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    operator: String,
    batch: u64,
    failed_in: u64,
    time_ms: u64,
    time: String,
    attempts: u32,
    bytes: usize,
    error: String,
}

/// Runs the command.
pub(crate) fn list(args: &DeadLettersArgs, out: &mut Output) -> Result<Outcome> {
    let mut rows = Vec::new();
    Chosen::of(args)?.read(|letter| {
        rows.push(Row {
            bytes: letter.input.len(),
            time: text::utc(letter.time_ms),
            id: letter.id,
            operator: letter.operator,
            batch: letter.batch,
            failed_in: letter.failed_in,
            time_ms: letter.time_ms,
            attempts: letter.attempts,
            error: letter.error,
        });
        Ok(())
    })?;
    out.show(args.json, &rows, print)?;
    Ok(Outcome::Clean)
}

fn print(rows: &Vec<Row>, out: &mut Output) -> Result<()> {
    if rows.is_empty() {
        return out.line("there are no dead letters");
    }
    let titles = [
        "id",
        "#batch",
        "failed at (UTC)",
        "#attempts",
        "#bytes",
        "error",
    ];
    let mut lines = table(&titles);
    for row in rows {
        let cells = [
            row.id.clone(),
            row.batch.to_string(),
            row.time.clone(),
            row.attempts.to_string(),
            row.bytes.to_string(),
            row.error.clone(),
        ];
        add_row(&mut lines, cells);
    }
    out.line(render(&lines))
}
