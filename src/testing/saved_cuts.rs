//! Cuts at which a matrix has failed, one a line: they are tried first from then on.
//!
//! ```text
//! seed 7 workers 1 cut 145 # Write /highwater/log/...: output "counts", batch 3: ...
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "the list is a file of the source tree, not of the simulated machine"
)]

use super::report::CrashFailure;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A cut of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) seed: u64,
    pub(super) workers: usize,
    pub(super) at: u64,
}

/// The list of the test that runs on this thread: `tests/crash-cuts/TEST.txt` in the package
/// under test. `None` outside of `cargo test`.
pub(super) fn list_of_test() -> Option<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")?;
    let thread = std::thread::current();
    let name = thread.name().filter(|name| *name != "main")?;
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let dir = Path::new(&package).join("tests").join("crash-cuts");
    Some(dir.join(format!("{name}.txt")))
}

/// The cuts of a list; none if it does not exist.
pub(super) fn load(list: &Path) -> io::Result<Vec<Cut>> {
    let text = match fs::read_to_string(list) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            parse(line).ok_or_else(|| {
                let what = format!("{}: this is no cut: {line}", list.display());
                io::Error::new(io::ErrorKind::InvalidData, what)
            })
        })
        .collect()
}

fn parse(line: &str) -> Option<Cut> {
    let (numbers, _comment) = line.split_once('#').unwrap_or((line, ""));
    let mut words = numbers.split_whitespace();
    let mut number = |name: &str| (words.next() == Some(name)).then(|| words.next());
    let seed = number("seed")??.parse().ok()?;
    let workers = number("workers")??.parse().ok()?;
    let at = number("cut")??.parse().ok()?;
    let cut = Cut { seed, workers, at };
    words.next().is_none().then_some(cut)
}

/// Adds a failure to a list, unless it is there.
pub(super) fn save(list: &Path, failure: &CrashFailure) -> io::Result<()> {
    let Some(at) = failure.cut else {
        return Ok(());
    };
    let cut = Cut {
        seed: failure.seed,
        workers: failure.workers,
        at,
    };
    if load(list)?.contains(&cut) {
        return Ok(());
    }
    if let Some(dir) = list.parent() {
        fs::create_dir_all(dir)?;
    }
    let Cut { seed, workers, at } = cut;
    let comment = format!("{}: {}", failure.operation, failure.what).replace('\n', " ");
    let mut file = OpenOptions::new().create(true).append(true).open(list)?;
    writeln!(file, "seed {seed} workers {workers} cut {at} # {comment}")
}
