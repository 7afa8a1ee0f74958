//! `highwater bench engine`.

use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn bench_engine_measures_each_program_beside_its_bound_and_leaves_nothing_behind() {
    let tmp = TempDir::new().unwrap();
    let place = tmp.path().to_str().unwrap();
    let quick = ["--lines", "300", "--rounds", "2", "--seconds", "0.3"];
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.args(["bench", "engine", place]).args(quick);
        command.args(more).output().unwrap()
    };
    let ran = run(&["--json", "--state-keys", "2000"]);
    assert!(ran.status.success(), "{ran:?}");
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(report["words"], 3000);
    let programs = report["programs"].as_array().unwrap();
    assert_eq!(programs.len(), 5 * 2, "{programs:?}");
    for measured in programs {
        assert!(measured["speed"]["median"].as_f64().unwrap() > 0.0);
        assert!(measured["ratio"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(report["empty_batches"].as_array().unwrap().len(), 2);
    for latency in report["latencies"].as_array().unwrap() {
        let [p50, p99] = ["p50_ms", "p99_ms"].map(|name| latency[name].as_f64().unwrap());
        assert!(p50 > 0.0 && p50 <= p99, "{latency}");
    }
    let many_keys = report["many_keys"].as_array().unwrap();
    assert_eq!(many_keys.len(), 2);
    for measured in many_keys {
        assert_eq!(measured["keys"], 2000);
        assert!(measured["fill"]["min"].as_f64().unwrap() > 0.0);
        assert!(measured["restart_seconds"].as_f64().unwrap() > 0.0);
    }
    let text = run(&["--workers", "1", "--state-keys", "2000"]);
    let text = String::from_utf8(text.stdout).unwrap();
    for part in [
        "bound: one hash map",
        "bound: a hash map of totals",
        "(join)",
        "empty batch",
        "batches of 50 ms",
        "state of 2000 keys",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let without = run(&["--workers", "1", "--state-keys", "0"]);
    let without = String::from_utf8(without.stdout).unwrap();
    assert!(!without.contains("state of"), "{without}");
    assert_eq!(tmp.path().read_dir().unwrap().count(), 0);
    assert_eq!(run(&["--workers", "0"]).status.code(), Some(2));
}
