//! Replay and opening after a crash: a child process fills a store, makes it durable, and is
//! killed.

use crate::engines::Engine;
use crate::record::{Digest, Records};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const FILLED: &str = "filled";

/// One run of opening after a crash and replaying.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Replay {
    pub open_ms: f64,
    pub gib_per_second: f64,
    pub hash: String,
}

/// Fills a store in `dir` from a process that is killed, opens it and reads it all.
///
/// The data is in the page cache: what is measured is the engine, not the disk.
pub fn crash_and_replay(engine: &dyn Engine, dir: &Path, size: usize, count: u64) -> Replay {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["fill", "--engine", engine.name(), "--dir"])
        .arg(dir)
        .args(["--size", &size.to_string(), "--count", &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), FILLED, "{} could not be filled", engine.name());
    child.kill().unwrap();
    child.wait().unwrap();
    warm(dir);
    let mut digest = Digest::default();
    let times = engine.open_and_replay(dir, &mut digest);
    assert_eq!(
        digest,
        Digest::expected(size, count),
        "{} gave back other records than were written",
        engine.name()
    );
    Replay {
        open_ms: times.open.as_secs_f64() * 1e3,
        gib_per_second: digest.bytes as f64 / times.replay.as_secs_f64() / f64::from(1 << 30),
        hash: digest.hash(),
    }
}

/// Reads every file once: who wrote past the page cache has nothing in it.
fn warm(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            warm(&path);
        } else {
            std::io::copy(
                &mut std::fs::File::open(&path).unwrap(),
                &mut std::io::sink(),
            )
            .unwrap();
        }
    }
}

/// The child: fills, reports it, and waits to be killed.
pub fn fill(engine: &dyn Engine, dir: &Path, size: usize, count: u64) {
    let store = engine.fill(dir, &mut Records::new(size, count));
    println!("{FILLED}");
    std::io::stdout().flush().unwrap();
    // Ends with the parent, should that die first.
    let _end = std::io::stdin().read_to_end(&mut Vec::new());
    drop(store);
}
