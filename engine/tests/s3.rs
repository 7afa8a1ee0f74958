//! A whole engine with its checkpoints in S3, on a real server of its protocol.
#![expect(
    clippy::disallowed_methods,
    reason = "a program that is killed knows no other disk than that of the system"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code"
)]

#[path = "../../tests/support/servers.rs"]
mod servers;

use highwater_engine::checkpoint::open_url;
use highwater_engine::{BatchMode, CheckpointPolicy, StopMode, StreamingContext};
use servers::{SECRET_KEY, s3};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const DIR: &str = "HIGHWATER_ENGINE_DIR";
const TEST: &str = "a_killed_engine_goes_on_from_a_bucket";

/// Counts words in `dir`, and prints each count of "be".
fn open(dir: PathBuf, place: &str) -> StreamingContext {
    StreamingContext::builder(dir)
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(2))
        .checkpoint_url(place)
        .get_or_create(|ssc| {
            let words = ssc
                .input::<String>("words")
                .map(|word: String| (word, 1_u64));
            let counts =
                words.update_state_by_key("counts", |_, new: &[u64], total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                });
            counts.for_each_batch("print", |_, counts: Vec<(String, u64)>| {
                for (_, count) in counts.iter().filter(|(word, _)| word == "be") {
                    println!("be {count}");
                }
            });
            Ok(())
        })
        .unwrap()
}

/// One life of the program: until it is killed, or one batch and an end.
fn live(dir: PathBuf, place: &str, is_last: bool) {
    let context = open(dir, place);
    let found = context.recovered();
    println!(
        "from {:?} {}",
        found.checkpoint.map(|c| c.1),
        found.batches_to_replay
    );
    context.start().unwrap();
    let input = context.input::<String>("words").unwrap();
    loop {
        for word in ["to", "be"] {
            input.send(&word.to_owned()).unwrap().wait().unwrap();
        }
        context.run_batch().unwrap();
        if is_last {
            context.stop(StopMode::Graceful).unwrap();
            return no_file_has_the_secret(place);
        }
    }
}

/// F86: credentials come from the environment, and stay there.
fn no_file_has_the_secret(place: &str) {
    let store = open_url(place).unwrap();
    let files = store.list().unwrap();
    assert!(files.iter().any(|file| file.name.starts_with("manifest-")));
    for file in files {
        let bytes = store.get(&file.name, file.size).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains(SECRET_KEY) && !text.contains("AKIATEST"),
            "{text}"
        );
    }
}

/// Killed in the midst of batches and checkpoints, three times: no word is lost and none counts
/// twice, and the state comes from the bucket.
#[test]
fn a_killed_engine_goes_on_from_a_bucket() {
    if let Some(dir) = std::env::var_os(DIR) {
        let place = std::env::var("HIGHWATER_TEST_PLACE").unwrap();
        return live(dir.into(), &place, std::env::var_os("LAST").is_some());
    }
    let Some(server) = s3() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run = |last: bool| {
        let mut program: Command = server.again(TEST);
        program.env(DIR, dir.path()).stdout(Stdio::piped());
        if last {
            program.env("LAST", "");
        }
        program.spawn().unwrap()
    };
    let mut counted = 0_u64;
    for (life, lines) in [7, 12, 5].into_iter().enumerate() {
        let mut program = run(false);
        let output = BufReader::new(program.stdout.take().unwrap());
        let mut seen = 0;
        for line in output.lines() {
            let line = line.unwrap();
            if let Some(count) = line.strip_prefix("be ") {
                // Batches that ran before may be replayed; then it goes on by one.
                let count: u64 = count.parse().unwrap();
                assert!(count <= counted + 1, "{count} after {counted}");
                counted = counted.max(count);
                seen += 1;
                if seen == lines {
                    program.kill().unwrap();
                }
            } else if let Some(from) = line.strip_prefix("from ") {
                assert_eq!(from.starts_with("Some("), life > 0, "{from}");
            }
        }
        program.wait().unwrap();
    }
    let last = run(true).wait_with_output().unwrap();
    let told = String::from_utf8(last.stdout).unwrap();
    assert!(last.status.success() && told.contains("1 passed"), "{told}");
    let last = told
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("be "))
        .unwrap();
    let last: u64 = last.parse().unwrap();
    // A word that was sent when the program was killed may have been stored without an
    // acknowledgement.
    assert!(
        (counted + 1..=counted + 2).contains(&last),
        "{last} after {counted}"
    );
    let names: Vec<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["log"], "no checkpoint is beside the log");
}
