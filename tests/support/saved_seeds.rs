//! Seeds on which a random test failed. They are saved with the commit and the smallest plan that
//! still fails, and are tried first from then on.
//!
//! Each test file has its list in `tests/seeds` of its crate: one line for each failure. A line
//! stays when the bug is mended. Random programs of proptest are saved by [`config`], rigs that
//! count their seeds by [`each_seed`]. What a line means changes with the generator of the test:
//! then it is one more random program, no worse than others.
//!
//! A test that fails prints one line to paste into a shell, which runs it with that seed alone:
//! `HIGHWATER_SEED=17 cargo test ..`. Loops over seeds that are not saved are [`seeds`].
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::disallowed_methods,
    reason = "the lists are files of the source tree, the commit is asked of git"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use proptest::test_runner::{Config, FailurePersistence, PersistedSeed};
use std::any::Any;
use std::fmt::{Debug, Display};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Settings of a proptest of so many cases, whose failures go to `seeds/TEST.txt` beside the tests
/// of `crate_dir` (`env!("CARGO_MANIFEST_DIR")`). `PROPTEST_CASES` sets another number.
pub(crate) fn config(cases: u32, crate_dir: &str, test: &str) -> Config {
    let told = std::env::var("PROPTEST_CASES").ok();
    let cases = told.and_then(|n| n.parse().ok()).unwrap_or(cases);
    Config {
        cases: if program_alone().is_some() { 0 } else { cases },
        failure_persistence: Some(Box::new(SavedSeeds::of(list_of(crate_dir, test)))),
        ..Config::default()
    }
}

/// Names the one seed that is run.
const VARIABLE: &str = "HIGHWATER_SEED";

fn told() -> Option<String> {
    std::env::var(VARIABLE).ok()
}

/// The one seed of a loop that was asked for.
fn seed_alone() -> Option<u64> {
    let told = told().filter(|told| !told.starts_with("cc "))?;
    let seed = told.parse();
    Some(seed.unwrap_or_else(|_| panic!("{VARIABLE}=\"{told}\" is no seed: write a number")))
}

/// The one program of a proptest that was asked for.
fn program_alone() -> Option<PersistedSeed> {
    let told = told()?;
    let seed = told.strip_prefix("cc ")?.parse();
    Some(seed.unwrap_or_else(|()| panic!("{VARIABLE}=\"{told}\" is no program of proptest")))
}

/// Whether a test runs with all its seeds. What all of them together must have met is not asked of
/// one alone.
pub(crate) fn all_seeds() -> bool {
    told().is_none()
}

/// The line that runs this test with `seed` alone.
pub(crate) fn line_to_paste(seed: impl Display) -> String {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    format!("{VARIABLE}=\"{seed}\" cargo test -p {package} {test} -- --exact")
}

/// The seeds of a loop: all, or the one that was asked for. If the loop ends by a panic, the line
/// is printed that runs its seed alone.
pub(crate) fn seeds(all: Range<u64>) -> Seeds {
    let left = seed_alone().map_or(all, |seed| seed..seed + 1);
    Seeds {
        left,
        running: None,
    }
}

/// See [`seeds`].
#[derive(Debug)]
pub(crate) struct Seeds {
    left: Range<u64>,
    running: Option<u64>,
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.running = self.left.next();
        self.running
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if let Some(seed) = self.running
            && std::thread::panicking()
        {
            eprintln!("this seed alone: {}", line_to_paste(seed));
        }
    }
}

/// The list of a test file.
pub(crate) fn list_of(crate_dir: &str, test: &str) -> PathBuf {
    Path::new(crate_dir).join(format!("tests/seeds/{test}.txt"))
}

/// Where the failures of a proptest are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedSeeds {
    list: PathBuf,
}

impl SavedSeeds {
    pub(crate) fn of(list: PathBuf) -> Self {
        Self { list }
    }
}

impl FailurePersistence for SavedSeeds {
    fn load_persisted_failures2(&self, _: Option<&'static str>) -> Vec<PersistedSeed> {
        let seed = |line: &String| {
            let seed = line.strip_prefix("cc ")?.split(" # ").next()?;
            let seed = seed.parse();
            Some(seed.unwrap_or_else(|()| panic!("{}: no seed: {line}", self.list.display())))
        };
        match program_alone() {
            Some(alone) => vec![alone],
            None => lines(&self.list).iter().filter_map(seed).collect(),
        }
    }

    fn save_persisted_failure2(
        &mut self,
        _: Option<&'static str>,
        seed: PersistedSeed,
        smallest: &dyn Debug,
    ) {
        let seed = format!("cc {seed}");
        eprintln!("this program alone: {}", line_to_paste(&seed));
        save(&self.list, &seed, &format!("{smallest:?}"));
    }

    fn box_clone(&self) -> Box<dyn FailurePersistence> {
        Box::new(self.clone())
    }

    fn eq(&self, other: &dyn FailurePersistence) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Runs `run(seed, steps)` for the saved seeds of `plan` first, then for those of `seeds` with
/// `most` steps. A seed that fails is saved with the fewest steps with which it still does.
pub(crate) fn each_seed(
    list: &Path,
    plan: &str,
    seeds: Range<u64>,
    most: u32,
    mut run: impl FnMut(u64, u32),
) {
    if seed_alone().is_none() {
        for (seed, steps) in saved(list, plan) {
            // Printed if it fails.
            let _line = Seeds {
                left: 0..0,
                running: Some(seed),
            };
            run(seed, steps);
        }
    }
    for seed in self::seeds(seeds) {
        let mut fails = |steps| catch_unwind(AssertUnwindSafe(|| run(seed, steps))).err();
        let Some(failure) = fails(most) else {
            continue;
        };
        let (mut passing, mut failing) = (0, most);
        while failing - passing > 1 {
            let middle = passing + (failing - passing) / 2;
            match fails(middle) {
                Some(_) => failing = middle,
                None => passing = middle,
            }
        }
        save(list, &format!("seed {seed} steps {failing}"), plan);
        resume_unwind(failure);
    }
}

/// The seeds of `plan` in the list, each with its steps.
fn saved(list: &Path, plan: &str) -> Vec<(u64, u32)> {
    let found = |line: &String| {
        let line = line.strip_prefix("seed ")?;
        let (seed, rest) = line.split_once(" steps ")?;
        let (steps, rest) = rest.split_once(" # ")?;
        let (_, of) = rest.split_once(" # ")?;
        (of == plan).then(|| (seed.parse().unwrap(), steps.parse().unwrap()))
    };
    lines(list).iter().filter_map(found).collect()
}

fn lines(list: &Path) -> Vec<String> {
    let text = fs::read_to_string(list).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Adds a line to the list, unless it is there.
fn save(list: &Path, seed: &str, plan: &str) {
    let known = lines(list);
    if known
        .iter()
        .any(|line| line.split(" # ").next() == Some(seed) && line.ends_with(plan))
    {
        return;
    }
    fs::create_dir_all(list.parent().unwrap()).unwrap();
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(list)
        .unwrap();
    let line = format!("{seed} # commit {} # {plan}\n", commit());
    file.write_all(line.as_bytes()).unwrap();
    eprintln!(
        "saved in {}: add it to the commit of the fix\n{line}",
        list.display()
    );
}

/// The commit of the source tree, as far as it can be told.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success()).then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit} with changes"),
    }
}
