//! `highwater-log backup` of a log that this process writes meanwhile, and `completions`.

use crate::common::{Ran, damage, paths, run};
use highwater_wal::{Lsn, Options, Wal};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tempfile::TempDir;

fn open(dir: &Path) -> Wal {
    Wal::open_with(dir, Options::new().segment_size(64 << 10)).unwrap()
}

fn backup(dir: &Path, to: &Path, more: &[&str]) -> Ran {
    let args = [
        "backup",
        dir.to_str().unwrap(),
        "--output",
        to.to_str().unwrap(),
    ];
    run(args.iter().chain(more))
}

fn json(ran: &Ran) -> Value {
    ran.json().remove(0)
}

/// The numbers in a log.
fn numbers(log: &Wal) -> Vec<u64> {
    let records = log.read_from(Lsn::ZERO).unwrap();
    records
        .map(|record| u64::from_le_bytes(record.unwrap().payload[..8].try_into().unwrap()))
        .collect()
}

#[test]
fn a_log_in_use_by_another_process_is_copied() {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("log");
    let log = open(&dir);
    let (acked, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut lsns = Vec::new();
            while !stop.load(Ordering::Acquire) {
                let number = lsns.len() as u64;
                let record = [&number.to_le_bytes()[..], &[7; 500]].concat();
                lsns.push(log.append(record).unwrap());
                if number % 16 == 15 {
                    log.sync_to(lsns[lsns.len() - 1]).unwrap();
                    acked.store(number + 1, Ordering::Release);
                }
                if number % 1500 == 1499 {
                    log.truncate_before(lsns[lsns.len() - 700]).unwrap();
                }
            }
        });
        for round in 0..6 {
            while acked.load(Ordering::Acquire) < 300 * (round + 1) {
                std::thread::yield_now();
            }
            let before = acked.load(Ordering::Acquire);
            let to = tmp.path().join(format!("new-{round}"));
            let row = json(&backup(&dir, &to, &["--json"]).exits(0));
            let copy = open(&to);
            let found = numbers(&copy);
            assert_eq!(row["records"], found.len(), "{row}");
            let end = found[0] + found.len() as u64;
            assert!(found.iter().copied().eq(found[0]..end), "a gap");
            assert!(end >= before, "{end} {before}");
            assert_eq!(row["first_lsn"], copy.first_lsn().get());
            assert!(
                row["end_lsn"].as_u64() >= row["proven_lsn"].as_u64(),
                "{row}"
            );
        }
        stop.store(true, Ordering::Release);
    });
    let names = paths(tmp.path());
    assert_eq!(names.len(), 7, "the log and six copies: {names:?}");
}

#[test]
fn a_backup_says_what_it_holds_and_what_is_in_the_way() {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("log");
    let log = open(&dir);
    for number in 0..500_u64 {
        let _ = log.append(number.to_le_bytes()).unwrap();
    }
    log.sync().unwrap();
    let to = tmp.path().join("new");
    // The directory of an engine has its log in `log/`.
    let other = TempDir::new().unwrap();
    let text = backup(tmp.path(), &other.path().join("new"), &[])
        .exits(0)
        .out;
    assert!(
        text.contains("500 records") && text.contains("verified"),
        "{text}"
    );
    let text = backup(&dir, &to, &[]).exits(0).out;
    for word in [
        "ok: 500 records",
        "LSN 0 to ",
        "was durable when this began",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let taken = backup(&dir, &to, &[]).exits(3).err;
    assert!(taken.contains("there already"), "{taken}");
    backup(&dir, &dir.join("inside"), &[]).exits(2);
    backup(&tmp.path().join("nowhere"), &to, &[]).exits(3);
    log.close().unwrap();
    damage(&dir.join("00000000000000000000.wal"), 5000);
    let damaged = backup(&dir, &tmp.path().join("other"), &[]).exits(1).err;
    assert!(damaged.contains("highwater-log verify"), "{damaged}");
    assert!(!paths(tmp.path()).iter().any(|path| path.ends_with("other")));
}

#[test]
fn every_shell_gets_completions_of_all_commands() {
    let help = run(["--help"]).exits(0).out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(
        commands.len() > 9 && commands.contains(&"backup"),
        "{commands:?}"
    );
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completions", shell]).exits(0).out;
        assert!(script.contains("highwater-log"), "{shell}");
        for command in &commands {
            assert!(script.contains(command), "{shell}: {command}");
        }
        assert!(script.contains("payload-limit"), "{shell}");
    }
    let unknown = run(["completions", "dish"]).exits(2).err;
    assert!(unknown.contains("bash"), "{unknown}");
}
