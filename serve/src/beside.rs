//! Work that may wait for the disk.

/// Does it on this thread, while other connections go on elsewhere: a read finds old data in files.
pub(crate) fn beside<T>(read: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(read)
}
