//! Notices that an output writes many small files: each costs a directory entry, two syncs, and
//! the time of who reads them.

/// After so many files ...
const MANY: u64 = 1000;
/// ... of fewer bytes on average ...
const SMALL: u64 = 64 << 10;
/// ... and again after so many times as many.
const AGAIN: u64 = 10;

/// The files of this run.
#[derive(Debug, Default)]
pub(super) struct SmallFiles {
    count: u64,
    bytes: u64,
    /// How many files make the next warning.
    next: Option<u64>,
}

impl SmallFiles {
    /// A file with `bytes` was written. What to warn of, if it is time to: how many files there
    /// are, and how many bytes they have on average.
    pub(super) fn wrote(&mut self, bytes: u64) -> Option<(u64, u64)> {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        let next = self.next.unwrap_or(MANY);
        let average = self.bytes / self.count;
        if self.count < next {
            return None;
        }
        self.next = Some(next.saturating_mul(AGAIN));
        (average < SMALL).then_some((self.count, average))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_files_are_told_of_and_not_each_time() {
        let told = |bytes: u64| {
            let mut files = SmallFiles::default();
            let told = (0..25_000).filter_map(|_| files.wrote(bytes));
            told.collect::<Vec<_>>()
        };
        assert_eq!(told(100), [(1000, 100), (10_000, 100)]);
        assert_eq!(told(SMALL), []);
    }
}
