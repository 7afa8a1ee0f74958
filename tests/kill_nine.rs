//! F1, F2, F63 on the real disk: a process that is killed with SIGKILL at random moments, also while it recovers, and
//! restarted on the same directory. `KILL_LOOP_SECONDS` makes it longer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "this test measures out its own time and makes its own directory"
)]

use highwater::prelude::*;
use highwater::{BoxError, Sender};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DIRECTORY: &str = "HIGHWATER_KILL_DIRECTORY";

fn program(
    dir: &str,
    totals: Arc<Mutex<BTreeMap<String, u64>>>,
) -> highwater::Result<StreamingContext> {
    StreamingContext::builder(dir)
        .batch_interval(Duration::from_millis(10))
        .checkpoint(CheckpointPolicy::every_batches(4))
        .log(highwater::wal::Options::new().segment_size(256 << 10))
        .get_or_create(move |ssc| {
            ssc.input::<String>("lines")
                .flat_map(|line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .map(|word| (word, 1_u64))
                .update_state_by_key("counts", |_, new, total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
                .for_each_batch("totals", move |_, records| {
                    *totals.lock().unwrap() = records.into_iter().collect();
                });
            Ok(())
        })
}

/// The process that gets killed: stores numbered lines from its input and says `ack <number>` when they are durable.
#[test]
fn child() -> Result<(), BoxError> {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return Ok(());
    };
    let context = program(&dir, Arc::default())?;
    context.start()?;
    let input: Sender<String> = context.input("lines")?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (number, text) = line.split_once(' ').ok_or("a line without a number")?;
        input
            .send_once("parent", number.parse()?, &text.to_owned())?
            .wait()?;
        // On a line of its own: the test harness may have begun one.
        println!("\nack {number}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn spawn(dir: &str) -> (Child, Receiver<u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (tell, acks) = channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("ack ") {
                let _ = tell.send(number.parse().unwrap());
            }
        }
    });
    (child, acks)
}

fn text(number: u64) -> String {
    format!("all mod{} n{}", number % 5, number % 101)
}

/// Sends lines from `next` on until `deadline`, then kills the child; returns the first number not acknowledged.
fn one_life(dir: &str, mut next: u64, life: Duration) -> u64 {
    let (mut child, acks) = spawn(dir);
    let mut to_child = child.stdin.take().unwrap();
    let deadline = Instant::now() + life;
    let mut sent = next;
    loop {
        // At most 64 lines are on the way.
        while sent < next + 64 && writeln!(to_child, "{sent} {}", text(sent)).is_ok() {
            sent += 1;
        }
        match acks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(number) => {
                assert_eq!(number, next, "acknowledgements come in order");
                next += 1;
            }
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => panic!("the child ended by itself"),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it acknowledged before it died counts.
    acks.iter().fold(next, |next, number| next.max(number + 1))
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_counted_twice() {
    if std::env::var(DIRECTORY).is_ok() {
        return; // inside the child
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path().join("app").to_string_lossy().into_owned();
    let seconds = std::env::var("KILL_LOOP_SECONDS").map_or(5, |s| s.parse().unwrap());
    let (start, mut seed, mut next, mut kills) = (Instant::now(), 7_u64, 0_u64, 0_u32);
    while start.elapsed() < Duration::from_secs(seconds) || kills < 8 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Some lives end inside recovery, some go through several checkpoints.
        next = one_life(
            &dir,
            next,
            Duration::from_micros(2_000 + (seed >> 33) % 400_000),
        );
        kills += 1;
    }
    let totals = Arc::new(Mutex::new(BTreeMap::new()));
    let context = program(&dir, Arc::clone(&totals)).unwrap();
    context.start().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    let found = totals.lock().unwrap().clone();
    // Behind the acknowledged lines at most those that were on their way may be there, without a gap.
    let lines = found.get("all").copied().unwrap_or(0);
    assert!(
        (next..=next + 64).contains(&lines),
        "{next} acknowledged, {lines} counted after {kills} kills"
    );
    let mut expected = BTreeMap::new();
    for word in (0..lines).flat_map(|n| text(n).split(' ').map(str::to_owned).collect::<Vec<_>>()) {
        *expected.entry(word).or_insert(0) += 1;
    }
    assert_eq!(found, expected, "after {kills} kills");
    println!("{kills} kills, {next} lines acknowledged, {lines} counted");
}

/// F45, F46, P10: another process is refused and told who holds the directory; a killed holder leaves nothing to clean up.
#[test]
fn another_process_is_refused_while_the_holder_lives() {
    if std::env::var(DIRECTORY).is_ok() {
        return; // inside the child
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path().join("app").to_string_lossy().into_owned();
    let (mut child, acks) = spawn(&dir);
    let mut to_child = child.stdin.take().unwrap();
    writeln!(to_child, "0 {}", text(0)).unwrap();
    assert_eq!(acks.recv().unwrap(), 0);
    let refused = program(&dir, Arc::default()).unwrap_err().to_string();
    assert!(refused.contains(&child.id().to_string()), "{refused}");
    child.kill().unwrap();
    child.wait().unwrap();
    program(&dir, Arc::default()).unwrap();
}
