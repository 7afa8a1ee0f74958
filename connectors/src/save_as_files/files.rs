//! Which files a program asks for.

use std::path::{Path, PathBuf};

/// The files of an output: where they are, what they are called, how many a batch has.
///
/// A path stands for files with the suffix of their format, one for each batch.
///
/// ```
/// use highwater_connectors::Files;
///
/// let orders = Files::new("out/orders").suffix("jsonl").parts_per_worker();
/// # let _ = orders;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub(super) prefix: PathBuf,
    pub(super) suffix: Option<String>,
    pub(super) parts_per_worker: bool,
}

impl Files {
    /// Files whose names begin with the last part of `prefix`, in the directory before it. The
    /// directory is created.
    #[must_use]
    pub fn new(prefix: impl AsRef<Path>) -> Self {
        Self {
            prefix: prefix.as_ref().to_owned(),
            suffix: None,
            parts_per_worker: false,
        }
    }

    /// What their names end in, after a dot, instead of what the format says; empty for nothing.
    #[must_use]
    pub fn suffix(mut self, suffix: &str) -> Self {
        self.suffix = Some(suffix.to_owned());
        self
    }

    /// Each worker writes a file of its own, `<prefix>-<time in ms>-<batch id>-part-<number, five
    /// digits>.<suffix>`: for outputs that one thread cannot write fast enough. One after the other
    /// the parts of a batch are the batch in its order. They appear one after the other, too.
    #[must_use]
    pub fn parts_per_worker(mut self) -> Self {
        self.parts_per_worker = true;
        self
    }
}

impl<P: AsRef<Path>> From<P> for Files {
    fn from(prefix: P) -> Self {
        Self::new(prefix)
    }
}
