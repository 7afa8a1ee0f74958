//! How the files of a store are best read.

/// How the files of a checkpoint are best read from a store, when it is verified and loaded.
///
/// At most `keep + 2 * request * at_once` bytes of files are held in memory for one checkpoint,
/// besides the blocks that its readers have asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Files are read in requests of at most so many bytes. A larger block is one request.
    pub request: u64,
    /// So many requests are made at once when a checkpoint is verified.
    pub at_once: usize,
    /// So many bytes are kept of what was verified, the smallest files first. They are not asked
    /// for again when the state is loaded. What is read of the other files is read ahead, unless
    /// this is 0: then each block is a request.
    pub keep: u64,
}

impl Reading {
    /// Where a request costs next to nothing, as in a directory: requests of 1 MiB, one by one, and
    /// nothing is kept.
    pub const NEAR: Self = Self {
        request: 1 << 20,
        at_once: 1,
        keep: 0,
    };

    /// Where each request takes its time: requests of 4 MiB, four at once, and 64 MiB are kept. So
    /// at most 96 MiB are held.
    pub const FAR: Self = Self {
        request: 4 << 20,
        at_once: 4,
        keep: 64 << 20,
    };
}
