//! `highwater checkpoint drop-state`.

use crate::args::DropStateArgs;
use crate::checkpoint::choice::{Chosen, choose, choose_state};
use crate::checkpoint::meaning::PRODUCERS;
use crate::checkpoint::new_store::new_store;
use crate::checkpoint::store::Found;
use crate::fail::OrFail;
use highwater::checkpoint::{Store, copy_without};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;
use highwater_log::text;
use serde::Serialize;
use serde_json::Value;

/// What is printed.
#[derive(Debug, Serialize)]
struct Dropped {
    state: String,
    /// How many keys it had.
    keys: u64,
    /// The checkpoint that it was in.
    from: u64,
    /// The new checkpoint.
    number: u64,
    lsn: u64,
    files: usize,
    bytes: u64,
    output: String,
}

/// Runs the command.
pub(crate) fn drop_state(args: &DropStateArgs, out: &mut Output) -> Result<Outcome> {
    let found = Found::read(&args.dir)?;
    let to = new_store(&args.output, &found.place)?;
    let Chosen { manifest, problem } = choose(&found, args.number)?;
    if problem.is_some() {
        let what = "a checkpoint that is not usable is not written again";
        return Err(Failure::Finding(what.to_owned()));
    }
    let state = choose_state(manifest, &args.name)?;
    if state.kind == PRODUCERS {
        let name = &state.name;
        return Err(Failure::Usage(format!(
            "\"{name}\" is what the source of that name knows of its producers: without it records would count twice. A source that is \
             gone is dropped in the program, with drop_source(\"{name}\")"
        )));
    }
    let metadata = without(manifest.metadata.clone(), &state.name);
    let made = copy_without(&found.to_read(manifest), &state.name, metadata, &to).or_fail()?;
    let dropped = Dropped {
        state: state.name.clone(),
        keys: state.entries,
        from: manifest.number,
        number: made.number,
        lsn: manifest.lsn,
        files: made.copied.files,
        bytes: made.copied.bytes,
        output: to.place(),
    };
    out.show(args.json, &dropped, print)?;
    Ok(Outcome::Clean)
}

/// What the engine has noted of the state: conversions that it has gone through, and the length of
/// its panes. A state of that name that comes later is another one.
fn without(mut metadata: Value, name: &str) -> Value {
    for notes in ["migrations", "panes"] {
        let notes = metadata.get_mut(notes).and_then(Value::as_object_mut);
        notes.and_then(|notes| notes.remove(name));
    }
    metadata
}

fn print(dropped: &Dropped, out: &mut Output) -> Result<()> {
    let Dropped {
        state,
        keys,
        from,
        number,
        lsn,
        output,
        ..
    } = dropped;
    let (state, keys) = (text::printable(state), text::grouped(*keys));
    let (files, bytes) = (dropped.files, text::bytes(dropped.bytes));
    out.line(format!(
        "checkpoint {number} in {output}: {files} files, {bytes}; checkpoint {from} without state \"{state}\" ({keys} keys), replay \
         from LSN {lsn}"
    ))?;
    out.line(
        "to use it, stop the engine and put the new directory in the place of the old checkpoints; keep these until the engine has \
         written two new ones",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Else a state of that name that comes later would count as converted already.
    #[test]
    fn what_was_noted_of_the_state_goes_with_it() {
        let metadata = json!({
            "migrations": { "a": 2, "b": 1 }, "panes": { "a": 1000 }, "dropped": { "a": 1 }, "workers": 2,
        });
        let expected = json!({
            "migrations": { "b": 1 }, "panes": {}, "dropped": { "a": 1 }, "workers": 2,
        });
        assert_eq!(without(metadata, "a"), expected);
        assert_eq!(without(json!({}), "a"), json!({}));
    }
}
