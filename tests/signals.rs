//! SIGTERM and ctrl-c end a program in order: everything stored is processed, a final checkpoint is
//! taken, and the next start replays nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "test code"
)]

use highwater::prelude::*;
use highwater::{BoxError, RestartPolicy, supervise};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DIRECTORY: &str = "HIGHWATER_SIGNALS_DIRECTORY";
const MODE: &str = "HIGHWATER_SIGNALS_MODE";

type Totals = Arc<Mutex<BTreeMap<String, u64>>>;

/// A count of words, in batches so long that no tick comes while the test runs.
fn program(dir: &str, totals: Totals) -> highwater::Result<StreamingContext> {
    StreamingContext::builder(dir)
        .batch_interval(Duration::from_secs(3600))
        .get_or_create(move |ssc| {
            ssc.input::<String>("words")
                .map(|word| {
                    if word == "wait" && std::env::var(DIRECTORY).is_ok() {
                        println!("\nin a batch");
                        let _line = std::io::stdin().read_line(&mut String::new());
                    }
                    (word, 1_u64)
                })
                .update_state_by_key("counts", |_, new, total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
                .for_each_batch("totals", move |_, records| {
                    *totals.lock().unwrap() = records.into_iter().collect();
                });
            Ok(())
        })
}

fn store(context: &StreamingContext, words: &[&str]) -> highwater::Result<()> {
    let input = context.input::<String>("words")?;
    for word in words {
        input.send(&(*word).to_owned())?.wait()?;
    }
    println!("\nstored");
    Ok(())
}

/// The program that gets the signals.
#[test]
fn child() -> Result<(), BoxError> {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return Ok(());
    };
    let mode = std::env::var(MODE)?;
    let mut runs = 0;
    let policy = RestartPolicy::new().pauses(Duration::from_millis(1), Duration::MAX);
    // It waits for signals from here on: the test does not know when the context does.
    supervise(&policy, || {
        runs += 1;
        let context = program(&dir, Arc::default())?;
        context.start()?;
        let words: &[&str] = match mode.as_str() {
            "drain" => &["a", "b", "a"],
            "twice" => &["wait", "a"],
            _ => &["a"],
        };
        store(&context, words)?;
        if mode == "supervised" && runs < 3 {
            return Err("on purpose".into());
        }
        Ok(context.await_termination_or_signal()?)
    })?;
    println!("\nended");
    if mode == "drain" {
        // Nothing waits for signals any more.
        let _line = std::io::stdin().read_line(&mut String::new());
    }
    Ok(())
}

struct Program {
    child: Child,
    said: Receiver<String>,
}

impl Program {
    fn start(dir: &str, mode: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, dir)
            .env(MODE, mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _gone = tell.send(line);
            }
        });
        Self { child, said }
    }

    fn says(&self, expected: &str) {
        let said = self.said.iter().find(|line| line == expected);
        assert!(
            said.is_some(),
            "the program ended before it said {expected}"
        );
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(kill.success());
    }
}

/// What the counts are after a restart, and how many batches that had to replay.
fn restarted(dir: &str) -> (BTreeMap<String, u64>, u64) {
    let totals = Totals::default();
    let context = program(dir, Arc::clone(&totals)).unwrap();
    let replayed = context.recovered().batches_to_replay;
    context.start().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    let totals = totals.lock().unwrap().clone();
    (totals, replayed)
}

fn counts(words: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let words = words.iter();
    words.map(|(word, n)| ((*word).to_owned(), *n)).collect()
}

fn directory() -> Option<(tempfile::TempDir, String)> {
    if std::env::var(DIRECTORY).is_ok() {
        return None; // inside the child
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path().join("app").to_string_lossy().into_owned();
    Some((scratch, dir))
}

#[test]
fn a_signal_drains_processes_and_checkpoints_and_a_restart_replays_nothing() {
    for signal in ["-TERM", "-INT"] {
        let Some((_scratch, dir)) = directory() else {
            return;
        };
        let mut program = Program::start(&dir, "drain");
        program.says("stored");
        program.signal(signal);
        program.says("ended");
        // The signal means again what it means without Highwater. The program waits for its input,
        // which waiting for its end would close.
        let _open = program.child.stdin.take();
        program.signal("-TERM");
        assert_eq!(program.child.wait().unwrap().signal(), Some(15));
        assert_eq!(restarted(&dir), (counts(&[("a", 2), ("b", 1)]), 0));
    }
}

#[test]
fn a_second_signal_cuts_the_graceful_stop_short_and_loses_nothing() {
    let Some((_scratch, dir)) = directory() else {
        return;
    };
    let mut program = Program::start(&dir, "twice");
    program.says("stored");
    program.signal("-TERM");
    program.says("in a batch");
    program.signal("-TERM");
    drop(program.child.stdin.take()); // the batch goes on
    program.says("ended");
    assert!(program.child.wait().unwrap().success());
    let (words, _replayed) = restarted(&dir);
    assert_eq!(words, counts(&[("a", 1), ("wait", 1)]));
}

#[test]
fn a_supervised_program_is_started_again_and_ends_by_a_signal() {
    let Some((_scratch, dir)) = directory() else {
        return;
    };
    let mut program = Program::start(&dir, "supervised");
    for _run in 0..3 {
        program.says("stored");
    }
    program.signal("-TERM");
    program.says("ended");
    assert!(program.child.wait().unwrap().success());
    assert_eq!(restarted(&dir), (counts(&[("a", 3)]), 0));
}
