//! A file mapped for reading only.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What holds the bytes of a [`ReadMap`].
pub trait ReadBacking: AsRef<[u8]> + Send + Sync {
    /// Reads in the pages of `range` (bytes of the file), so that touching them raises no signal.
    ///
    /// # Errors
    /// Why a page cannot be read in, with the offset of the first such page
    /// ([`DiskError::offset`](crate::DiskError::offset)).
    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        Ok(())
    }
}

/// Bytes in memory are always there.
impl ReadBacking for Vec<u8> {}

/// The bytes of a whole file, mapped (or, in the simulator, copied). Cheap to clone.
#[derive(Clone)]
pub struct ReadMap {
    backing: Arc<dyn ReadBacking>,
    len: usize,
}

impl ReadMap {
    /// A map over the bytes of `backing`.
    #[must_use]
    pub fn new(backing: Arc<dyn ReadBacking>) -> Self {
        let len = (*backing).as_ref().len();
        Self { backing, len }
    }

    /// The bytes of the file. Call [`Self::populate`] before you touch them: a page that cannot be
    /// read in raises SIGBUS.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        (*self.backing).as_ref()
    }

    /// Reads in the pages of `range` (in bytes), so that touching them soon raises no signal. The
    /// system may drop pages at any time: call this before each pass.
    ///
    /// # Errors
    /// Any I/O error: [`DiskError::offset`](crate::DiskError::offset) tells the page.
    /// [`io::ErrorKind::UnexpectedEof`] if the file was cut short of it;
    /// [`io::ErrorKind::InvalidInput`] if the range lies outside the map.
    pub fn populate(&self, range: Range<u64>) -> io::Result<()> {
        if range.start > range.end || range.end > self.len as u64 {
            return Err(crate::error::invalid(
                "the range to populate lies outside the map",
            ));
        }
        self.backing.populate(range)
    }
}

impl fmt::Debug for ReadMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadMap").field("len", &self.len).finish()
    }
}
