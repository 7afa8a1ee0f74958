//! What the machine could do at most: the same work with nothing else around it.

use crate::bench::corpus::Corpus;
use crate::bench::programs::{PANES, Program};
use highwater::disk::Clock;
use highwater::wal::{Options, Wal};
use highwater_log::outcome::Result;
use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What a program is measured beside: the same work in plain code of one thread, with keys that
/// borrow from the text.
pub(crate) enum Bound<'a> {
    /// One hash map of counts.
    Counts,
    /// A map of totals, and a map for each batch of the window.
    Window {
        totals: Map<&'a str, u64>,
        batches: VecDeque<Map<&'a str, u64>>,
    },
    /// A map of the lines of both sides.
    Join,
}

impl<'a> Bound<'a> {
    /// That of `program`.
    pub(crate) fn of(program: Program) -> Self {
        match program {
            Program::Running | Program::Borrowed | Program::OfBatch => Self::Counts,
            Program::Windowed => Self::Window {
                totals: Map::default(),
                batches: VecDeque::new(),
            },
            Program::Joined => Self::Join,
        }
    }

    /// What people call it.
    pub(crate) fn title(program: Program) -> &'static str {
        match Self::of(program) {
            Self::Counts => "bound: one hash map, one thread, borrowed keys",
            Self::Window { .. } => "bound: a hash map of totals, and one for each batch",
            Self::Join => "bound: a hash map of both sides",
        }
    }

    /// A batch of the corpus. Returns how long it took, and what the program's output adds up to;
    /// of a running count, what the batch adds to that.
    pub(crate) fn round(&mut self, corpus: &'a Corpus, clock: &dyn Clock) -> (Duration, u64) {
        match self {
            Self::Counts => hash_map(corpus, clock),
            Self::Window { totals, batches } => window(totals, batches, corpus, clock),
            Self::Join => join(corpus, clock),
        }
    }
}

fn counts(corpus: &Corpus) -> Map<&str, u64> {
    let mut counts = Map::default();
    for line in corpus.text().lines() {
        for word in line.split(' ') {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}

fn window<'a>(
    totals: &mut Map<&'a str, u64>,
    batches: &mut VecDeque<Map<&'a str, u64>>,
    corpus: &'a Corpus,
    clock: &dyn Clock,
) -> (Duration, u64) {
    let start = clock.now();
    let batch = counts(corpus);
    if u32::try_from(batches.len()).is_ok_and(|len| len == PANES) {
        for (word, count) in batches.pop_front().unwrap_or_default() {
            let total = totals.entry(word).or_default();
            *total -= count;
            if *total == 0 {
                totals.remove(word);
            }
        }
    }
    for (word, count) in &batch {
        *totals.entry(word).or_default() += count;
    }
    batches.push_back(batch);
    let emitted: Vec<(&str, u64)> = totals.iter().map(|(word, n)| (*word, *n)).collect();
    let emitted = black_box(emitted);
    let took = clock.now().saturating_sub(start);
    (took, emitted.iter().map(|(_, count)| count).sum())
}

fn join(corpus: &Corpus, clock: &dyn Clock) -> (Duration, u64) {
    let start = clock.now();
    let mut sides: Map<&str, (Vec<u64>, Vec<u64>)> = Map::default();
    for line in corpus.lines() {
        sides.entry(line).or_default().0.push(1);
    }
    for line in corpus.lines() {
        sides.entry(line).or_default().1.push(1);
    }
    let mut pairs = Vec::new();
    for (line, (left, right)) in &sides {
        for one in left {
            pairs.extend(right.iter().map(|other| (*line, (*one, *other))));
        }
    }
    let pairs = black_box(pairs);
    let took = clock.now().saturating_sub(start);
    (
        took,
        pairs.iter().map(|(_, (one, other))| one * other).sum(),
    )
}

/// Counts the words of `corpus` in one hash map of one thread, with keys that borrow from the text.
/// Returns how long that took, and the number of words.
fn hash_map(corpus: &Corpus, clock: &dyn Clock) -> (Duration, u64) {
    let start = clock.now();
    let counts = counts(corpus);
    let took = clock.now().saturating_sub(start);
    (took, counts.values().sum())
}

/// How long one durable record takes in a log at `dir`; once for each of `times`.
pub(crate) fn flushes(dir: &Path, times: usize, clock: &dyn Clock) -> Result<Vec<Duration>> {
    let log = Wal::open_with(dir, Options::new())?;
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let start = clock.now();
        log.sync_to(log.append([0; 64])?)?;
        took.push(clock.now().saturating_sub(start));
    }
    log.close()?;
    Ok(took)
}
