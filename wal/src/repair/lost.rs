//! What of a log is gone.

use crate::lsn::Lsn;
use std::path::PathBuf;

/// Holes that are kept one by one; more are only counted, so that a log of nothing but holes fits
/// the memory.
const MAX_RANGES: usize = 10_000;

/// A range of the log that no intact frame covers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostRange {
    /// Where it starts: right after an intact frame, or where the first of a segment should be.
    pub from: Lsn,
    /// Where the next intact frame, or the next segment, starts. `None` if it is unknown how far
    /// the log went.
    pub to: Option<Lsn>,
    /// The file in which it starts.
    pub file: PathBuf,
    /// Where it starts in that file, in bytes.
    pub offset: u64,
    /// What is there instead.
    pub what: String,
    /// No crash does that: files are made whole before they get their names, and removed from the
    /// first on.
    pub(crate) broken: bool,
}

impl LostRange {
    /// Whether a segment is missing there.
    pub(crate) fn is_gap(&self) -> bool {
        self.offset == 0
    }
}

/// The holes of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Losses {
    /// The holes in the order of the log: the first 10,000.
    pub ranges: Vec<LostRange>,
    /// How many holes there are in all.
    pub count: u64,
    /// Bytes of the log in them, as far as their ends are known.
    pub bytes: u64,
}

impl Losses {
    /// True if nothing is lost.
    ///
    /// ```
    /// use highwater_wal::{disk::{Disk, OsDisk}, inspect};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path().join("log"), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    /// let repaired = inspect::repair(&disk, dir.path().join("log"), dir.path().join("new"), |_| ())?;
    /// assert!(repaired.lost.is_empty(), "this log was not damaged");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn add(&mut self, range: LostRange) {
        self.count += 1;
        self.bytes += size(&range);
        if self.ranges.len() < MAX_RANGES {
            self.ranges.push(range);
        }
    }

    /// Moves the ranges for which `chosen` holds, the first ones, to `to`. Those that were only
    /// counted come after the ones that were kept: they go along if all of these do.
    pub(crate) fn split_into(&mut self, chosen: impl Fn(&LostRange) -> bool, to: &mut Self) {
        let all = std::mem::take(self);
        let (kept, bytes) = (all.ranges.len() as u64, all.bytes);
        let counted = (
            all.count - kept,
            bytes - all.ranges.iter().map(size).sum::<u64>(),
        );
        for range in all.ranges {
            if chosen(&range) {
                to.add(range);
            } else {
                self.add(range);
            }
        }
        let rest = if self.is_empty() { to } else { self };
        rest.count += counted.0;
        rest.bytes += counted.1;
    }
}

fn size(range: &LostRange) -> u64 {
    range.to.map_or(0, |to| to.bytes_since(range.from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64) -> LostRange {
        LostRange {
            from: Lsn::new(from),
            to: Some(Lsn::new(from + 8)),
            file: PathBuf::from("x"),
            offset: 0,
            what: String::new(),
            broken: false,
        }
    }

    /// Bounded memory: no hole goes uncounted.
    #[test]
    fn more_holes_than_are_kept_are_counted() {
        let many = MAX_RANGES as u64 + 5;
        let mut all = Losses::default();
        (0..many).for_each(|n| all.add(range(n * 16)));
        assert_eq!((all.count, all.bytes), (many, many * 8));
        assert_eq!(all.ranges.len(), MAX_RANGES);
        let mut proven = Losses::default();
        all.split_into(|range| range.from.get() < 160, &mut proven);
        assert_eq!((proven.count, all.count), (10, many - 10));
        assert_eq!(proven.bytes + all.bytes, many * 8);
        all.split_into(|_| true, &mut proven);
        assert_eq!((proven.count, all.count, all.bytes), (many, 0, 0));
        assert_eq!(proven.bytes, many * 8);
    }
}
