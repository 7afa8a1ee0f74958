//! Whether a device has a cache of written data.

/// Whether a device reports a cache of written data that a power cut empties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCache {
    /// It does: a sync must flush it.
    Volatile,
    /// It does not: the kernel sends it no flushes.
    None,
    /// It does not report that.
    Unstated,
}
