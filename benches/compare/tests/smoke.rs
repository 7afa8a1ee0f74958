//! Everything once and tiny, as a user runs it: every engine writes, survives a kill, and gives
//! back what was written.

use std::process::{Command, Output};

fn compare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_highwater-compare"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

#[test]
fn a_quick_run_measures_every_engine() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let json = dir.path().join("figures.json");
    let data = dir.path().join("data");
    let paths = [json.to_str().unwrap(), data.to_str().unwrap()];
    let output = compare(&[
        "--quick",
        "--sizes",
        "1024",
        "--threads",
        "1,8",
        "--json",
        paths[0],
        "--dir",
        paths[1],
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let printed = String::from_utf8(output.stdout).unwrap();
    for heading in [
        "## Who takes part",
        "## Durable appends, 1 KiB, 8 threads",
        "## Appends without sync",
        "## Opening after a crash, and replay",
        "## Targets",
    ] {
        assert!(printed.contains(heading), "no \"{heading}\" in\n{printed}");
    }
    let figures: serde_json::Value =
        serde_json::from_reader(std::fs::File::open(json).unwrap()).unwrap();
    let engines = figures["engines"].as_array().unwrap();
    assert!(engines.len() >= 8, "{engines:?}");
    for engine in engines {
        let cells = figures["durable"].as_array().unwrap().iter();
        let own: Vec<_> = cells.filter(|c| c["engine"] == engine["name"]).collect();
        assert_eq!(own.len(), 2, "{engine}");
        assert!(
            own.iter()
                .all(|c| c["runs"][0]["records"].as_u64() > Some(0))
        );
    }
    let hashes = figures["replay"].as_array().unwrap().iter();
    let hashes: Vec<_> = hashes.map(|c| &c["runs"][0]["hash"]).collect();
    assert!(
        hashes.len() > 1 && hashes.windows(2).all(|two| two[0] == two[1]),
        "{hashes:?}"
    );
    let left = std::fs::read_dir(data).unwrap().count();
    assert_eq!(left, 0, "the data is removed");
}

#[test]
fn an_unknown_engine_is_named_with_those_there_are() {
    let output = compare(&["--only", "nosuch"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        errors.contains("nosuch") && errors.contains("highwater-wal"),
        "{errors}"
    );
}

#[test]
fn a_directory_in_memory_is_refused() {
    let output = compare(&["--dir", "/dev/shm"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        errors.contains("tmpfs") && errors.contains("--dir"),
        "{errors}"
    );
}
