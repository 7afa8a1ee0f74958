//! Reading in the pages of a mapped file before they are touched: then a bad sector is an error,
//! not a SIGBUS.
//!
//! A unit of a map is populated the first time (`MADV_POPULATE_READ`). Later it is enough that its
//! pages are still in memory. `mincore` tells that twenty times faster (measured: 0.4 ms instead of
//! 11 for 256 MiB). If the system drops a page after the query, and it cannot be read when it is
//! touched, the signal still comes.

use crate::call::Call;
use crate::error::DiskError;
use crate::interrupted::uninterrupted;
use crate::os::linux::direct_read::read_around;
use crate::os::read_through::read_through;
use crate::os::size::{cut_short, length};
use crate::units::PAGE;
use memmap2::{Advice, MmapMut, MmapOptions};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The unit in which populated parts are recorded.
const UNIT: usize = 64 << 10;
/// Pages that `mincore` is asked about at a time: 1 MiB.
const ASKED: usize = 256;

/// Which units of a map were populated at least once.
#[derive(Debug)]
pub(crate) struct Populated(Box<[AtomicU64]>);

impl Populated {
    /// For a map of `len` bytes: none was.
    pub(crate) fn nothing(len: usize) -> Self {
        let words = len.div_ceil(UNIT).div_ceil(64);
        Self((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    /// For a map of `len` bytes: all of it was.
    pub(crate) fn everything(len: usize) -> Self {
        let populated = Self::nothing(len);
        populated.note(&(0..len), len);
        populated
    }

    fn bits(range: &Range<usize>) -> impl Iterator<Item = (usize, u64)> {
        let parts = range.start / UNIT..range.end.div_ceil(UNIT);
        parts.map(|part| (part / 64, 1 << (part % 64)))
    }

    /// Whether all units that `range` touches were.
    fn all(&self, range: &Range<usize>) -> bool {
        // Relaxed: a hint that saves work; no byte is read because of it.
        let set = |(word, bit)| {
            let word: Option<&AtomicU64> = self.0.get(word);
            word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
        };
        Self::bits(range).all(set)
    }

    /// Records the units that lie wholly in `range`. The last one of the map ends with it.
    fn note(&self, range: &Range<usize>, mapped: usize) {
        let end = match range.end >= mapped {
            true => mapped.next_multiple_of(UNIT),
            false => range.end / UNIT * UNIT,
        };
        let whole = range.start.next_multiple_of(UNIT)..end;
        if whole.start < whole.end {
            for (word, bit) in Self::bits(&whole) {
                if let Some(word) = self.0.get(word) {
                    word.fetch_or(bit, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The file of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// It is open as long as the map.
    Open(&'a File),
    /// It was closed, so that a long log needs no descriptors. Its name may be gone by now, or name
    /// another file.
    Closed(FileId),
}

/// Tells one file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = uninterrupted(|| file.metadata())?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

/// Whether this kernel has `MADV_POPULATE_READ` (Linux 5.14). Without it maps keep their files
/// open, to read them.
pub(crate) fn is_known() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let page = rustix::param::page_size();
        let asked = MmapMut::map_anon(page).map(|map| map.advise(Advice::PopulateRead));
        matches!(asked, Ok(Ok(())))
    })
}

/// Whether pages of `file` can be faulted in for writing in advance (`MADV_POPULATE_WRITE`). Its
/// first page was written.
pub(crate) fn can_populate(file: &File) -> io::Result<bool> {
    let map = MmapOptions::new().len(PAGE).map_raw(file)?;
    match map.advise(Advice::PopulateWrite) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A file mapped from its beginning, part of which is to be read in.
#[derive(Debug)]
pub(crate) struct MappedFile<'a> {
    pub(crate) file: Source<'a>,
    pub(crate) path: &'a Path,
    pub(crate) base: *const u8,
    pub(crate) len: usize,
    pub(crate) populated: &'a Populated,
}

impl MappedFile<'_> {
    /// Reads in the pages of `range`, unless they are in memory.
    pub(crate) fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let size = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.len);
        let page = rustix::param::page_size();
        let range = size(range.start) / page * page..size(range.end).next_multiple_of(page);
        if range.is_empty() || (self.populated.all(&range) && self.is_resident(&range)) {
            return Ok(());
        }
        match self.advise(&range) {
            Ok(()) => {}
            // Linux before 5.14. What was read is in the page cache, where touching finds it.
            Err(Errno::INVAL | Errno::NOSYS) => match self.file {
                Source::Open(file) => read_through(file, self.path, self.len, &range)?,
                Source::Closed(_) => return Err(self.fault(range.start, Errno::INVAL.into())),
            },
            Err(error) => self.find(&range, error)?,
        }
        self.populated.note(&range, self.len);
        Ok(())
    }

    fn advise(&self, pages: &Range<usize>) -> Result<(), Errno> {
        let at = self.base.wrapping_add(pages.start).cast_mut().cast();
        let populated = uninterrupted(|| {
            #[expect(unsafe_code, reason = "reads pages of a map in")]
            // SAFETY: the pages lie inside a map of ours (`base` and `len`), and nothing in it
            // changes.
            let advised = unsafe {
                rustix::mm::madvise(at, pages.len(), rustix::mm::Advice::LinuxPopulateRead)
            };
            Ok(advised?)
        });
        populated.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
    }

    /// Whether all the pages are in memory. If the system does not tell, they are not.
    fn is_resident(&self, pages: &Range<usize>) -> bool {
        let page = rustix::param::page_size();
        let mut at = pages.start;
        while at < pages.end {
            let len = (pages.end - at).min(ASKED * page);
            let mut found = [0_u8; ASKED];
            let address = self.base.wrapping_add(at).cast_mut().cast();
            #[expect(unsafe_code, reason = "asks about memory by its address")]
            // SAFETY: the system writes one byte for each page of `len` into `found`, which has
            // room for them; the address is only looked up.
            let asked = unsafe { libc::mincore(address, len, found.as_mut_ptr()) };
            let count = len.div_ceil(page);
            if asked != 0 || found.iter().take(count).any(|byte| byte & 1 == 0) {
                return false;
            }
            at += len;
        }
        true
    }

    /// Finds the page that could not be read in, and why. No error if all of them can be by now.
    #[cold]
    fn find(&self, pages: &Range<usize>, error: Errno) -> io::Result<()> {
        if error == Errno::NOMEM || error == Errno::AGAIN {
            return Err(self.fault(pages.start, error.into()));
        }
        let page = rustix::param::page_size();
        for at in pages.clone().step_by(page) {
            if let Err(error) = self.advise(&(at..at + page)) {
                return Err(self.reason(pages, at, error));
            }
        }
        Ok(())
    }

    fn fault(&self, at: usize, cause: io::Error) -> io::Error {
        DiskError::wrap_at(Call::Populate, self.path, at as u64, cause)
    }

    /// Why the page at `at`, one of `pages`, cannot be read in: `madvise` returns EFAULT for every
    /// cause of a signal. So the file is read.
    fn reason(&self, pages: &Range<usize>, at: usize, error: Errno) -> io::Error {
        if error != Errno::FAULT {
            return self.fault(at, error.into());
        }
        let opened;
        let file = match self.file {
            Source::Open(file) => file,
            Source::Closed(id) => match reopen(self.path, id) {
                Some(file) => {
                    opened = file;
                    &opened
                }
                None => return self.fault(at, io::Error::other(UNREADABLE)),
            },
        };
        match length(file) {
            Ok(len) if len <= at as u64 => {
                let cut = cut_short(len, self.len);
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, cut);
                return self.fault(usize::try_from(len).unwrap_or(at), cut);
            }
            _ => {}
        }
        let size = rustix::param::page_size();
        let mut page = vec![0; size];
        // The first page that cannot be mapped need not be the bad one: the page cache reads many
        // as one.
        for at in (at..pages.end.min(self.len)).step_by(size) {
            let read = uninterrupted(|| file.read_at(&mut page, at as u64));
            if let Err(cause) = read.or_else(|e| read_around(file, &mut page, at as u64, e)) {
                return self.fault(at, cause);
            }
        }
        self.fault(at, io::Error::other(UNREADABLE))
    }
}

const UNREADABLE: &str = "a page cannot be read in (madvise: EFAULT)";

/// Opens the file that was mapped, if its name still means it.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
fn reopen(path: &Path, id: FileId) -> Option<File> {
    let file = File::open(path).ok()?;
    (FileId::of(&file).ok()? == id).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_counts_as_seen_once_all_of_it_was_populated() {
        let len = 130 * UNIT + 8192;
        let populated = Populated::nothing(len);
        populated.note(&(4096..3 * UNIT - 4096), len);
        assert!(!populated.all(&(0..UNIT)) && populated.all(&(UNIT..2 * UNIT)));
        assert!(!populated.all(&(UNIT..3 * UNIT)) && !populated.all(&(3 * UNIT..3 * UNIT + 1)));
        populated.note(&(128 * UNIT..len), len);
        assert!(populated.all(&(128 * UNIT..len)) && populated.all(&(130 * UNIT..len)));
        assert!(!populated.all(&(127 * UNIT..len)));
        assert!(Populated::everything(len).all(&(0..len)));
    }
}
