//! Read-only maps of real files, whose pages are read in with `read`.

use crate::error::invalid;
use crate::map::read::{ReadBacking, ReadMap};
use crate::os::read_through::read_through;
use crate::os::size::length;
use memmap2::{Advice, Mmap};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Maps the whole file for reading.
pub(crate) fn map(file: &Arc<File>, path: &Path) -> io::Result<ReadMap> {
    if length(file)? == 0 {
        return Err(invalid("an empty file cannot be mapped"));
    }
    #[expect(unsafe_code, reason = "a read-only map of a file")]
    // SAFETY: as with every mapped file, the directory lock keeps other processes away, so it is
    // not truncated. Sealed files are never written again.
    let map = unsafe { Mmap::map(&**file) }?;
    // Read from front to back. Best effort.
    let _ = map.advise(Advice::Sequential);
    Ok(ReadMap::new(Arc::new(PortableReadMap {
        map,
        file: Arc::clone(file),
        path: path.to_path_buf(),
    })))
}

/// A mapped file, kept open to be read.
struct PortableReadMap {
    map: Mmap,
    file: Arc<File>,
    path: PathBuf,
}

impl AsRef<[u8]> for PortableReadMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl ReadBacking for PortableReadMap {
    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let size = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let range = size(range.start)..size(range.end);
        read_through(&self.file, &self.path, self.map.len(), &range)
    }
}
