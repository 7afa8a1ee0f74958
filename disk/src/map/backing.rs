//! The memory of an append map: a mapped file, memory of the process, or a simulated file.

use std::fmt;
use std::io;
use std::ops::Range;

/// What keeps the mapped memory alive and makes it durable.
pub trait MapBacking: fmt::Debug + Send + Sync {
    /// Makes the bytes of `range` durable.
    ///
    /// # Errors
    /// Any I/O error; final for the bytes written since the last success.
    fn sync(&self, range: Range<u64>) -> io::Result<()>;

    /// Reads in the pages of `range` that show a file, so that touching them raises no signal.
    ///
    /// # Errors
    /// Why a page cannot be read in, with the offset of the first such page.
    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        Ok(())
    }

    /// Bytes from here on are memory of this process; the map shows those before from the file.
    fn in_memory_from(&self) -> u64 {
        0
    }

    /// Asks the system for the memory of `range` now, so that appenders need not wait for it. Best
    /// effort.
    fn prefault(&self, range: Range<u64>) {
        let _ = range;
    }

    /// Writes zeros to `range` of the file: whole pages to which no thread appends yet.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::Unsupported`] if stores go to the page cache.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives the memory of `range` back to the system. From now on the map shows the file there,
    /// with the same bytes.
    ///
    /// # Errors
    /// Any I/O error; the memory is then as it was.
    fn give_back(&self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        Ok(())
    }

    /// Gives the memory of `range`, whole pages to which nothing was appended, back to the system.
    /// The map shows zeros there, as before. Best effort.
    fn discard(&self, range: Range<u64>) {
        let _ = range;
    }

    /// Whether [`Self::sync`] reads the memory, so that the bytes must be complete.
    fn copies_memory(&self) -> bool {
        false
    }

    /// A lock to hold while bytes are copied into the map: the simulator copies the memory when the
    /// power is cut.
    fn copy_lock(&self) -> Option<&parking_lot::Mutex<()>> {
        None
    }
}
