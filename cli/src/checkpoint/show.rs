//! `highwater checkpoint show`.

use crate::args::ShowArgs;
use crate::checkpoint::choice::{Chosen, choose};
use crate::checkpoint::store::Found;
use crate::outcome::{Outcome, Result};
use crate::output::{Output, add_row, render, table};
use crate::text;
use highwater::checkpoint::Manifest;
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
