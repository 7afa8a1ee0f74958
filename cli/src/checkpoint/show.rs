//! `highwater checkpoint show`.

use crate::args::ShowArgs;
use crate::checkpoint::choice::{Chosen, choose};
use crate::checkpoint::store::Found;
use crate::fail::OrFail;
use highwater::checkpoint::Manifest;
use highwater_log::outcome::{Outcome, Result};
use highwater_log::output::{Output, add_row, render, table};
use highwater_log::text;
use serde_json::{Value, json};

/// Runs the command.
pub(crate) fn show(args: &ShowArgs, out: &mut Output) -> Result<Outcome> {
    let found = Found::read(&args.checkpoints.dir)?;
    let Chosen { manifest, problem } = choose(&found, args.number)?;
    if args.checkpoints.json {
        out.json(&json!({ "problem": problem, "manifest": manifest }))?;
    } else {
        summary(&found, manifest, out)?;
    }
    Ok(Outcome::clean_if(problem.is_none()))
}

fn summary(found: &Found, manifest: &Manifest, out: &mut Output) -> Result<()> {
    let lines = [
        ("checkpoint", manifest.number.to_string()),
        ("application", manifest.application.clone()),
        ("taken", text::utc(manifest.created_ms)),
        (
            "batch",
            format!(
                "{} (batch time {})",
                manifest.batch.id,
                text::utc(manifest.batch.time_ms)
            ),
        ),
        ("replay from", format!("LSN {}", manifest.lsn)),
        ("log id", format!("{:032x}", manifest.log_id)),
        (
            "writer",
            format!(
                "{:016x}, generation {}",
                manifest.writer, manifest.generation
            ),
        ),
        ("format", manifest.format_version.to_string()),
        (
            "files",
            format!(
                "{}, {}",
                manifest.files.len(),
                text::bytes(manifest.state_bytes())
            ),
        ),
    ];
    for (name, value) in lines {
        out.line(format!("{name:<12} {}", text::printable(&value)))?;
    }
    if let Some(cut) = manifest.metadata.get("incomplete").and_then(incomplete) {
        out.line(format!("incomplete   {cut}"))?;
    }
    if let Some(operators) = manifest.metadata.get("operators").and_then(Value::as_array) {
        out.line("\noperators")?;
        out.line(operator_table(operators))?;
    }
    out.line("\nstates")?;
    let checkpoint = found.to_read(manifest);
    let mut states = table(&[
        "name",
        "kind",
        "#keys",
        "#key groups",
        "#blocks",
        "#bytes",
        "types",
    ]);
    for state in &manifest.states {
        let groups = checkpoint.groups(&state.name).or_fail()?;
        add_row(
            &mut states,
            [
                state.name.clone(),
                state.kind.clone(),
                text::grouped(state.entries),
                groups.len().to_string(),
                groups.iter().map(|g| g.blocks).sum::<usize>().to_string(),
                text::bytes(groups.iter().map(|g| g.bytes).sum()),
                state.fingerprint.clone(),
            ],
        );
    }
    out.line(render(&states))
}

/// The batches that were cut and had not finished.
fn incomplete(listed: &Value) -> Option<String> {
    let number = |of: &Value, field: &str| of.get(field).and_then(Value::as_u64);
    let cuts = listed.get("cuts")?.as_array()?;
    let shown = cuts.iter().filter_map(|cut| {
        let (first, last) = (number(cut, "first_batch")?, number(cut, "batch")?);
        let (from, to) = (number(cut, "from")?, number(cut, "to")?);
        let from_first = match first < last {
            true => format!("{first} to "),
            false => String::new(),
        };
        Some(format!("{from_first}{last} (LSN {from} to {to})"))
    });
    let shown: Vec<String> = shown.collect();
    let batches = number(listed, "batches")?;
    let all = format!("{batches} batches were cut and had not finished: ");
    Some(all + &shown.join(", "))
}

fn operator_table(operators: &[Value]) -> String {
    let mut lines = table(&["#", "operator", "name", "inputs", "defined at"]);
    for (index, operator) in operators.iter().enumerate() {
        let text = |field: &str| {
            operator
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or("-")
                .to_owned()
        };
        let inputs = operator
            .get("inputs")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let inputs: Vec<String> = inputs.map(Value::to_string).collect();
        let inputs = if inputs.is_empty() {
            "-".to_owned()
        } else {
            inputs.join(", ")
        };
        add_row(
            &mut lines,
            [
                index.to_string(),
                text("kind"),
                text("name"),
                inputs,
                text("defined_at"),
            ],
        );
    }
    render(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_had_not_finished_are_named() {
        let cut = |first, last, from| json!({"first_batch": first, "batch": last, "time_ms": 1, "from": from, "to": from + 8});
        let listed = json!({"batches": 4, "cuts": [cut(7, 7, 80), cut(8, 10, 88)]});
        let expected =
            "4 batches were cut and had not finished: 7 (LSN 80 to 88), 8 to 10 (LSN 88 to 96)";
        assert_eq!(incomplete(&listed).unwrap(), expected);
        assert_eq!(incomplete(&json!({})), None);
    }
}
