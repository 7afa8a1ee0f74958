//! `highwater dead-letters replay`.

use crate::args::DeadLettersArgs;
use crate::dead_letters::store::Chosen;
use crate::fail::OrFail;
use highwater::request_replay;
use highwater_log::outcome::{Outcome, Result};
use highwater_log::output::Output;
use serde_json::json;

/// Runs the command.
pub(crate) fn replay(args: &DeadLettersArgs, out: &mut Output) -> Result<Outcome> {
    let chosen = Chosen::of(args)?;
    let mut count = 0_u64;
    chosen.read(|_| {
        count += 1;
        Ok(())
    })?;
    if count > 0 {
        request_replay(&chosen.disk, &chosen.dir, &chosen.filter).or_fail()?;
    }
    out.show(args.json, &json!({ "requested": count }), |_, out| match count {
        0 => out.line("there are no such dead letters: nothing to replay"),
        _ => out.line(format!(
            "{count} dead letters are to be replayed: by the program at its next batch, or at its next start"
        )),
    })?;
    Ok(Outcome::Clean)
}
