//! `highwater checkpoint drop-state`: the engine goes on from what it writes.

use crate::common::{Ran, damage, run};
use crate::program;
use crate::program::{STATS, engine, open};
use highwater::disk::{Disk, OsDisk};
use std::path::Path;

fn tool(what: &str, dir: &Path, more: &[&str]) -> Ran {
    let dir = dir.to_str().unwrap();
    run(["checkpoint", what, dir]
        .into_iter()
        .chain(more.iter().copied()))
}

fn list(dir: &Path) -> serde_json::Value {
    tool("list", dir, &["--json"]).json().remove(0)
}

/// The program lost an operator. It is refused with the old checkpoints, and goes on with the new
/// one: its other states are whole, and incremental checkpoints continue them.
#[test]
fn a_program_without_the_operator_goes_on() {
    let (tmp, dir) = engine(1);
    let before = [("counts", 6), ("timed", 7)].map(|(state, keys)| {
        let entries = tool("state", &dir, &[state]).exits(0).out;
        assert_eq!(entries.lines().count(), keys);
        entries
    });
    let refused = open(&dir, 1, false).unwrap_err().to_string();
    assert!(refused.contains(STATS), "{refused}");
    let newest = list(&dir)[0]["number"].as_u64().unwrap();
    let old = tool("show", &dir, &["--json"]).exits(0).json().remove(0);

    let to = tmp.path().join("new");
    let args = [STATS, "--output", to.to_str().unwrap()];
    let text = tool("drop-state", &dir, &args).exits(0).out;
    let told = format!("checkpoint {} in {}", newest + 1, to.display());
    assert!(
        text.starts_with(&told) && text.contains("stop the engine"),
        "{text}"
    );
    assert!(tool("verify", &to, &[]).exits(0).out.starts_with("ok: 1"));
    // The old directory is as it was, and still right for the old program.
    assert!(open(&dir, 1, false).is_err());
    drop(open(&dir, 1, true).unwrap());

    let disk = OsDisk::new();
    let place = dir.join("checkpoints");
    disk.rename(&place, &tmp.path().join("old")).unwrap();
    disk.rename(&to, &place).unwrap();
    assert!(tool("verify", &dir, &[]).exits(0).out.starts_with("ok: 1"));
    let listed = list(&dir);
    assert_eq!(listed[0]["recovery"], true);
    for (state, before) in ["counts", "timed"].iter().zip(&before) {
        assert_eq!(&tool("state", &dir, &[state]).exits(0).out, before);
    }
    let missing = tool("state", &dir, &[STATS]).exits(2);
    assert!(
        missing.err.contains("it has: counts, timed, in"),
        "{}",
        missing.err
    );

    let context = open(&dir, 1, false).unwrap();
    assert_eq!(
        context.recovered().checkpoint.map(|(number, _)| number),
        Some(newest + 1)
    );
    program::run(&context, &[&[("to", 1)]]);
    drop(context);
    program::run(&open(&dir, 1, false).unwrap(), &[&[("or", 1)]]);
    assert!(tool("verify", &dir, &[]).exits(0).out.starts_with("ok: 2"));
    let listed = list(&dir);
    let number = |at: usize| listed[at]["number"].as_u64().unwrap();
    assert!(
        number(1) > newest + 1 && number(0) == number(1) + 1,
        "{listed}"
    );
    let expected = [
        ("to", 7),
        ("be", 3),
        ("or", 4),
        ("not", 4),
        ("new", 8),
        ("1", 6),
    ];
    for (key, count) in expected {
        let found = tool("state", &dir, &["counts", "--key", key]).exits(0).out;
        assert_eq!(found, format!("\"{key}\"\t{count}\n"));
    }
    // They continue what was there: a state that is written anew has another id.
    let id = |manifest: &serde_json::Value| {
        let states = manifest["states"].as_array().unwrap();
        let counts = states.iter().find(|state| state["name"] == "counts");
        counts.unwrap()["id"].clone()
    };
    let show = tool("show", &dir, &["--json"]).exits(0).json().remove(0);
    assert_eq!(id(&show["manifest"]), id(&old["manifest"]));
    // The operator comes back, and begins anew.
    let context = open(&dir, 1, true).unwrap();
    program::run(&context, &[&[("to", 10)]]);
    let back = tool("state", &dir, &[STATS, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!((back.len(), &back[0]["value"]["total"]), (1, &10.into()));
    assert!(tool("verify", &dir, &[]).exits(0).out.starts_with("ok: 2"));
}

/// An older checkpoint: the log is replayed from there, and no number is taken twice.
#[test]
fn an_older_checkpoint_may_be_chosen() {
    let (tmp, dir) = engine(1);
    let listed = list(&dir);
    let (newest, older) = (&listed[0], &listed[1]);
    let to = tmp.path().join("new");
    let number = older["number"].to_string();
    let args = [
        STATS,
        "--number",
        &number,
        "--json",
        "--output",
        to.to_str().unwrap(),
    ];
    let json = tool("drop-state", &dir, &args).exits(0).json().remove(0);
    assert_eq!(
        (&json["from"], &json["lsn"]),
        (&older["number"], &older["lsn"])
    );
    assert_eq!(
        json["number"].as_u64().unwrap(),
        newest["number"].as_u64().unwrap() + 1
    );
    assert_eq!(
        (&json["state"], json["keys"].as_u64()),
        (&STATS.into(), Some(6))
    );
    let disk = OsDisk::new();
    disk.rename(&dir.join("checkpoints"), &tmp.path().join("old"))
        .unwrap();
    disk.rename(&to, &dir.join("checkpoints")).unwrap();
    let context = open(&dir, 1, false).unwrap();
    assert!(context.recovered().batches_to_replay > 0);
    program::run(&context, &[&[("to", 1)]]);
    for (key, count) in [("to", 7), ("be", 3), ("new", 8)] {
        let found = tool("state", &dir, &["counts", "--key", key]).exits(0).out;
        assert_eq!(found, format!("\"{key}\"\t{count}\n"));
    }
    tool("state", &dir, &["counts", "--key", "gone"]).exits(1);
}

#[test]
fn what_would_lose_more_than_a_state_is_refused() {
    let (tmp, dir) = engine(1);
    let to = tmp.path().join("new");
    let output = ["--output", to.to_str().unwrap()];
    let refused = tool("drop-state", &dir, &[&["in"][..], &output].concat()).exits(2);
    assert!(
        refused.err.contains("drop_source(\"in\")"),
        "{}",
        refused.err
    );
    let refused = tool("drop-state", &dir, &[&["none"][..], &output].concat()).exits(2);
    assert!(refused.err.contains("it has: counts"), "{}", refused.err);
    tool("drop-state", &dir, &["counts"]).exits(2);
    let inside = dir.join("checkpoints").join("new");
    let refused = tool(
        "drop-state",
        &dir,
        &["counts", "--output", inside.to_str().unwrap()],
    );
    assert!(refused.exits(2).err.contains("inside"));
    let number = list(&dir)[0]["number"].as_u64().unwrap();
    damage(
        &dir.join("checkpoints")
            .join(format!("manifest-{number:010}.json")),
        100,
    );
    let number = number.to_string();
    let damaged = [&["counts", "--number", &number][..], &output].concat();
    tool("drop-state", &dir, &damaged).exits(1);
    // Beside another log, replay could not go on.
    let (_other, other) = engine(2);
    let disk = OsDisk::new();
    disk.rename(&dir.join("log"), &tmp.path().join("log"))
        .unwrap();
    disk.rename(&other.join("log"), &dir.join("log")).unwrap();
    let older = list(&dir)[1]["number"].to_string();
    let misfit = [&["counts", "--number", &older][..], &output].concat();
    let refused = tool("drop-state", &dir, &misfit).exits(1);
    assert!(refused.err.contains("belongs to log"), "{}", refused.err);
    assert!(!to.exists());
}
