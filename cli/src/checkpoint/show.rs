//! `highwater checkpoint show`.

use crate::args::ShowArgs;
use crate::checkpoint::store::Found;
use crate::outcome::{Failure, Outcome, Result};
use crate::output::{Output, add_row, render, table, tell};
use crate::text;
use highwater::checkpoint::{Inspected, Manifest};
use serde_json::{Value, json};

/// Runs the command.
pub(crate) fn show(args: &ShowArgs, out: &mut Output) -> Result<Outcome> {
    let found = Found::read(&args.checkpoints.dir)?;
    let checkpoint = choose(&found, args)?;
    let problem = found.problem(checkpoint);
    let Some(manifest) = &checkpoint.manifest else {
        let problem = problem.unwrap_or_default();
        return Err(Failure::Finding(format!(
            "checkpoint {} is not usable: {problem}",
            checkpoint.number
        )));
    };
    if let Some(problem) = &problem {
        tell(format!(
            "checkpoint {} is not usable: {problem}",
            checkpoint.number
        ));
    }
    match &args.state {
        Some(name) => state(&found, manifest, name, args, out)?,
        None if args.checkpoints.json => {
            out.json(&json!({ "problem": problem, "manifest": manifest }))?;
        }
        None => summary(&found, manifest, out)?,
    }
    Ok(Outcome::clean_if(problem.is_none()))
}

fn choose<'a>(found: &'a Found, args: &ShowArgs) -> Result<&'a Inspected> {
    let wanted = args
        .number
        .or_else(|| found.recovered_from().map(|m| m.number));
    let numbers = || -> String {
        let numbers: Vec<String> = found
            .checkpoints
            .iter()
            .map(|c| c.number.to_string())
            .collect();
        if numbers.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are: {}", numbers.join(", "))
        }
    };
    let Some(wanted) = wanted else {
        if let Some(problem) = &found.uncovered {
            return Err(Failure::Finding(problem.clone()));
        }
        if found.checkpoints.is_empty() {
            return Err(Failure::Usage("there are no checkpoints".to_owned()));
        }
        let what = "recovery could not take any of the checkpoints; choose one with --number";
        return Err(Failure::Finding(format!("{what} ({})", numbers())));
    };
    let chosen = found.checkpoints.iter().find(|c| c.number == wanted);
    chosen.ok_or_else(|| Failure::Usage(format!("there is no checkpoint {wanted} ({})", numbers())))
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
        let groups = checkpoint.groups(&state.name)?;
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

/// The entries of a state, one per line: key, tab, value.
fn state(
    found: &Found,
    manifest: &Manifest,
    name: &str,
    args: &ShowArgs,
    out: &mut Output,
) -> Result<()> {
    let Some(state) = manifest.states.iter().find(|s| s.name == name) else {
        let names: Vec<&str> = manifest.states.iter().map(|s| s.name.as_str()).collect();
        let text = format!(
            "checkpoint {} has no state \"{name}\" (it has: {})",
            manifest.number,
            names.join(", ")
        );
        return Err(Failure::Usage(text));
    };
    let mut left = args.limit.unwrap_or(u64::MAX);
    found.entries(manifest, state, |group, key, value| {
        if left == 0 {
            return Ok(());
        }
        left -= 1;
        if args.checkpoints.json {
            out.json(&json!({ "key_group": group, "key": key, "value": value }))
        } else {
            let text = |value: &Value| text::printable(&value.to_string());
            out.line(format!("{}\t{}", text(&key), text(&value)))
        }
    })
}
