//! `highwater-log repair`: everything before the first damage, at the same LSNs.

use crate::args::RecoverArgs;
use crate::commands::damage::FoundDamage;
use crate::commands::open::Located;
use crate::commands::progress::Progress;
use crate::commands::recover::lost::{Lost, findings, names, places, print_findings};
use crate::outcome::{Outcome, Result};
use crate::output::Output;
use crate::program::Program;
use crate::text;
use highwater_wal::inspect::{self, Repaired};
use serde::Serialize;
use std::path::Path;

/// What is printed.
#[derive(Debug, Serialize)]
struct Row {
    /// Whether nothing durable is lost.
    ok: bool,
    output: String,
    log_id: String,
    first_lsn: u64,
    /// Everything below was kept, nothing from here on.
    kept_until: u64,
    /// Where the new log goes on.
    end_lsn: u64,
    frames: u64,
    records: u64,
    lost: Lost,
    /// Intact, but after the damage.
    frames_after: u64,
    records_after: u64,
    findings: Vec<FoundDamage>,
    ignored: Vec<String>,
}

impl Row {
    fn new(repaired: &Repaired, to: &Path) -> Self {
        Self {
            ok: repaired.lost.is_empty(),
            output: to.display().to_string(),
            log_id: format!("{:032x}", repaired.log_id),
            first_lsn: repaired.first_lsn.get(),
            kept_until: repaired.kept_until.get(),
            end_lsn: repaired.end_lsn.get(),
            frames: repaired.frames,
            records: repaired.records,
            lost: Lost::new(&repaired.lost),
            frames_after: repaired.frames_after,
            records_after: repaired.records_after,
            findings: findings(&repaired.findings),
            ignored: names(&repaired.ignored),
        }
    }
}

/// Runs the command.
pub(crate) fn repair(args: &RecoverArgs, program: &Program, out: &mut Output) -> Result<Outcome> {
    let (Located { disk, dir, .. }, to) = places(args)?;
    let bar = Progress::new();
    let repaired = inspect::repair(&disk, &dir, &to, |progress| bar.show(progress));
    drop(bar);
    let row = Row::new(&repaired?, &to);
    out.show(args.log.json, &row, |row, out| print(row, program, out))?;
    Ok(Outcome::clean_if(row.ok))
}

fn print(row: &Row, program: &Program, out: &mut Output) -> Result<()> {
    print_findings(&row.findings, &row.ignored, out)?;
    row.lost.print("lost, with everything after it", out)?;
    out.line(format!(
        "{}: {} records in {} frames kept, LSN {} to {}; the new log goes on at LSN {}",
        if row.ok { "ok" } else { "LOST RECORDS" },
        text::grouped(row.records),
        text::grouped(row.frames),
        row.first_lsn,
        row.kept_until,
        row.end_lsn,
    ))?;
    if row.frames_after > 0 {
        let whose = if row.ok {
            "never proven durable, as recovery would drop them".to_owned()
        } else {
            format!("`{} salvage` gets them", program.command)
        };
        out.line(format!(
            "{} intact records in {} frames follow the damage: {whose}",
            text::grouped(row.records_after),
            text::grouped(row.frames_after),
        ))?;
    }
    out.line(format!(
        "new log in {}, the old one is as it was",
        row.output
    ))
}
