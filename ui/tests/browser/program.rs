//! The program that is shown: this test again, as a process of its own, which does what it is told.

use highwater::{BoxError, CheckpointPolicy, StateGuard, StreamScope, StreamingContext};
use highwater_ui::{Ui, UiOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

const DIRECTORY: &str = "HIGHWATER_TEST_PAGE_DIRECTORY";
const PORT: &str = "HIGHWATER_TEST_PAGE_PORT";
const HELD: &str = "HIGHWATER_TEST_PAGE_HELD";

/// Whether batches are held back.
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

fn pass_the_gate() {
    let held = GATE.0.lock().unwrap_or_else(PoisonError::into_inner);
    drop(GATE.1.wait_while(held, |held| *held));
}

/// Counts lines by key.
fn program(ssc: &StreamScope) -> Result<(), BoxError> {
    ssc.input::<String>("lines")
        .map(|line: String| {
            pass_the_gate();
            assert!(line != "fail", "the line says so");
            (line, 1_u64)
        })
        .update_state_by_key("counts", |_, new, total: &mut StateGuard<u64>| {
            *total.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
        })
        .for_each_batch("newest", |_, _| ());
    Ok(())
}

/// The process that is shown and killed.
#[test]
fn child() -> Result<(), BoxError> {
    let (Ok(dir), Ok(port)) = (std::env::var(DIRECTORY), std::env::var(PORT)) else {
        return Ok(());
    };
    *GATE.0.lock().unwrap() = std::env::var_os(HELD).is_some();
    let context = StreamingContext::builder(&dir)
        .application("orders")
        .batch_interval(Duration::from_millis(50))
        .checkpoint(CheckpointPolicy::every_batches(1_000_000))
        .get_or_create(program)?;
    let options = UiOptions::new().tick(Duration::from_millis(250));
    let _page = context.ui(&format!("127.0.0.1:{port}"), options)?;
    context.start()?;
    println!("\nruns");
    let lines = context.input::<String>("lines")?;
    let mut sent = 0;
    for told in std::io::stdin().lines() {
        let told = told?;
        match told.split_once(' ') {
            // Each in a batch of its own, where that is possible: there is something to replay.
            Some(("send", count)) => {
                for _ in 0..count.parse::<u64>()? {
                    let ack = lines.send(&format!("line {sent}"))?;
                    let lsn = ack.lsn();
                    ack.wait()?;
                    let counts = context.state::<String, u64>("counts")?;
                    counts.at_least(lsn)?;
                    sent += 1;
                }
            }
            None if told == "go" => {
                *GATE.0.lock().unwrap() = false;
                GATE.1.notify_all();
            }
            None if told == "fail" => {
                lines.send(&"fail".to_owned())?.wait()?;
                let _error = context.await_termination();
            }
            _ => return Err(told.into()),
        }
        println!("ok");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The process, from outside.
pub(crate) struct Program {
    child: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(dir: &Path, port: u16, held: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "program::child",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(DIRECTORY, dir)
            .env(PORT, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if held {
            command.env(HELD, "1");
        }
        let mut child = command.spawn().unwrap();
        let mut program = Self {
            told: child.stdin.take().unwrap(),
            says: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        program.wait_for("runs");
        program
    }

    pub(crate) fn does(&mut self, what: &str) {
        writeln!(self.told, "{what}").unwrap();
        self.wait_for("ok");
    }

    /// Its other lines are those of the test harness.
    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while line.trim_end() != word {
            line.clear();
            assert!(
                self.says.read_line(&mut line).unwrap() > 0,
                "it ended before \"{word}\""
            );
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
