//! What the machine could do at most: the same work with nothing else around it.

use crate::bench::corpus::Corpus;
use crate::outcome::Result;
use highwater::disk::Clock;
use highwater::wal::{Options, Wal};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// Counts the words of `corpus` in one hash map of one thread, with keys that borrow from the text.
/// Returns how long that took, and the number of words.
pub(crate) fn hash_map(corpus: &Corpus, clock: &dyn Clock) -> (Duration, u64) {
    let start = clock.now();
    let mut counts: HashMap<&str, u64, foldhash::fast::RandomState> = HashMap::default();
    for line in corpus.text().lines() {
        for word in line.split(' ') {
            *counts.entry(word).or_default() += 1;
        }
    }
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
