//! `highwater dead-letters show`.

use crate::args::DeadLettersArgs;
use crate::dead_letters::store::Chosen;
use crate::decode;
use highwater_log::outcome::{Outcome, Result};
use highwater_log::output::Output;
use highwater_log::text;
use serde_json::json;

/// Runs the command.
pub(crate) fn show(args: &DeadLettersArgs, out: &mut Output) -> Result<Outcome> {
    let mut count = 0_u64;
    Chosen::of(args)?.read(|letter| {
        count += 1;
        let record = decode::to_json_or_base64(&letter.input);
        if args.json {
            return out.json(&json!({
                "id": letter.id,
                "operator": letter.operator,
                "batch": letter.batch,
                "lsn": letter.lsn.map(u64::from),
                "index": letter.index,
                "failed_in": letter.failed_in,
                "time_ms": letter.time_ms,
                "attempts": letter.attempts,
                "error": letter.error,
                "record": record,
            }));
        }
        let place = match (letter.lsn, letter.index) {
            (Some(lsn), Some(index)) => format!("record {index} of the frame at LSN {lsn}"),
            _ => "made of the whole batch".to_owned(),
        };
        out.line(&letter.id)?;
        out.line(format!("  operator  {}", letter.operator))?;
        out.line(format!("  batch     {}, {place}", letter.batch))?;
        out.line(format!(
            "  failed    {} times, last in batch {} at {}",
            letter.attempts,
            letter.failed_in,
            text::utc(letter.time_ms)
        ))?;
        out.line(format!("  error     {}", letter.error))?;
        out.line(format!("  record    {record}"))
    })?;
    if count == 0 && !args.json {
        out.line("there are no dead letters")?;
    }
    Ok(Outcome::Clean)
}
