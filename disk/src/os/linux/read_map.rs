//! Read-only maps of real files.

use crate::error::invalid;
use crate::map::read::{ReadBacking, ReadMap};
use crate::os::linux::populate::{self, FileId, MappedFile, Populated, Source};
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
    // Read from front to back, soon: the kernel fetches ahead of the reader. Best effort.
    let _ = map.advise(Advice::Sequential);
    let _ = map.advise(Advice::WillNeed);
    Ok(ReadMap::new(Arc::new(OsReadMap {
        populated: Populated::nothing(map.len()),
        map,
        file: (!populate::is_known()).then(|| Arc::clone(file)),
        id: FileId::of(file)?,
        path: path.to_path_buf(),
    })))
}

/// A mapped file. It can tell why a page cannot be read in, but is not kept open for that.
struct OsReadMap {
    map: Mmap,
    populated: Populated,
    file: Option<Arc<File>>,
    id: FileId,
    path: PathBuf,
}

impl AsRef<[u8]> for OsReadMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl ReadBacking for OsReadMap {
    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let mapped = MappedFile {
            file: match &self.file {
                Some(file) => Source::Open(file),
                None => Source::Closed(self.id),
            },
            path: &self.path,
            base: self.map.as_ptr(),
            len: self.map.len(),
            populated: &self.populated,
        };
        mapped.populate(range)
    }
}
