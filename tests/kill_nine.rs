//! F1, F2, F63 on the real disk: a process that is killed with SIGKILL at random moments, also
//! while it recovers, and restarted on the same directory. Two sources, two outputs, two workers.
//! `KILL_LOOP_SECONDS` makes it longer; `SEAL_GROUPS=4096` pads the commit groups of the log.
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
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DIRECTORY: &str = "HIGHWATER_KILL_DIRECTORY";

fn seal_groups() -> u64 {
    std::env::var("SEAL_GROUPS").map_or(0, |bytes| bytes.parse().unwrap())
}

fn program(
    dir: &str,
    totals: Arc<Mutex<BTreeMap<String, u64>>>,
) -> highwater::Result<StreamingContext> {
    StreamingContext::builder(dir)
        .workers(NonZeroUsize::new(2).expect("two"))
        .batch_interval(Duration::from_millis(10))
        .checkpoint(CheckpointPolicy::every_batches(4))
        .log(
            highwater::wal::Options::new()
                .segment_size(256 << 10)
                .seal_groups(seal_groups()),
        )
        .get_or_create(move |ssc| {
            let files = ssc.text_file_stream("files", beside(dir, "in"));
            let lines = ssc.input::<String>("lines").union(&files.map(String::from));
            lines.save_as_text_files("text", beside(dir, "out").join("lines"));
            lines
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

/// A directory next to the engine's.
fn beside(dir: &str, name: &str) -> PathBuf {
    Path::new(dir).with_file_name(name)
}

/// The process that gets killed: stores numbered lines from its input and says `ack <number>` when
/// they are durable.
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

/// Moves a file of `count` lines into the directory that the program watches.
fn drop_file(dir: &str, number: u32, count: u64) {
    let unfinished = beside(dir, "unfinished");
    let text: String = (0..count).map(|n| format!("file f{}\n", n % 7)).collect();
    std::fs::write(&unfinished, text).unwrap();
    std::fs::rename(unfinished, beside(dir, "in").join(format!("{number:06}"))).unwrap();
}

/// How often each word stands in the output files.
fn written(dir: &str) -> BTreeMap<String, u64> {
    let mut words = BTreeMap::new();
    for entry in std::fs::read_dir(beside(dir, "out")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if !name.starts_with('.') {
            count_words(&std::fs::read_to_string(&path).unwrap(), &mut words);
        }
    }
    words
}

fn count_words(text: &str, words: &mut BTreeMap<String, u64>) {
    for word in text.split_whitespace() {
        *words.entry(word.to_owned()).or_insert(0) += 1;
    }
}

fn text(number: u64) -> String {
    format!("all mod{} n{}", number % 5, number % 101)
}

/// Sends lines from `next` on until `deadline`, then kills the child; returns the first number not
/// acknowledged.
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
    std::fs::create_dir(beside(&dir, "in")).unwrap();
    let (start, mut seed, mut next, mut kills) = (Instant::now(), 7_u64, 0_u64, 0_u32);
    let mut file_lines = 0;
    while start.elapsed() < Duration::from_secs(seconds) || kills < 8 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let count = (seed >> 40) % 3000;
        drop_file(&dir, kills, count);
        file_lines += count;
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
    // Files are looked for twice a second.
    let patience = Instant::now() + Duration::from_secs(60);
    while written(&dir).get("file").copied().unwrap_or(0) < file_lines && Instant::now() < patience
    {
        context
            .await_termination_or_timeout(Duration::from_millis(20))
            .unwrap();
    }
    context.stop(StopMode::Graceful).unwrap();
    let found = totals.lock().unwrap().clone();
    // Behind the acknowledged lines at most those that were on their way may be there, without a
    // gap.
    let lines = found.get("all").copied().unwrap_or(0);
    assert!(
        (next..=next + 64).contains(&lines),
        "{next} acknowledged, {lines} counted after {kills} kills"
    );
    let mut expected = BTreeMap::new();
    (0..lines).for_each(|n| count_words(&text(n), &mut expected));
    for entry in std::fs::read_dir(beside(&dir, "in")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        count_words(&text, &mut expected);
    }
    assert_eq!(found, expected, "the state, after {kills} kills");
    assert_eq!(written(&dir), expected, "the output, after {kills} kills");
    println!("{kills} kills, {next} lines acknowledged, {lines} counted, {file_lines} from files");
}

/// F45, F46, P10: another process is refused and told who holds the directory; a killed holder
/// leaves nothing to clean up.
#[test]
fn another_process_is_refused_while_the_holder_lives() {
    if std::env::var(DIRECTORY).is_ok() {
        return; // inside the child
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path().join("app").to_string_lossy().into_owned();
    std::fs::create_dir(beside(&dir, "in")).unwrap();
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
