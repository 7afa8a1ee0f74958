//! Writing past the page cache: whole pages, each write a sync as well.

use crate::call::Call;
use crate::error::{DiskError, invalid};
use crate::interrupted::uninterrupted;
use crate::os::size::check_size_limit;
use crate::units::{PAGE, PAGE_SIZE};
use memmap2::MmapMut;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Writes zeros to whole pages of the file at `path`.
pub(crate) fn write_zeros(path: &Path, range: Range<u64>) -> io::Result<()> {
    if !range.start.is_multiple_of(PAGE_SIZE) || !range.end.is_multiple_of(PAGE_SIZE) {
        return Err(invalid(
            "only whole pages can be written past the page cache",
        ));
    }
    let direct = open_direct_for_writing(path).map_err(|e| match e.kind() {
        io::ErrorKind::Unsupported => e,
        _ => DiskError::wrap(Call::Open, path, e),
    })?;
    zero_pages(&direct, range)
}

pub(crate) fn zero_pages(direct: &File, range: Range<u64>) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    check_size_limit(range.end)?;
    let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(PIECE);
    let zeros = MmapMut::map_anon(wanted.clamp(PAGE, PIECE))?;
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).map_or(PIECE, |left| left.min(zeros.len()));
        direct
            .write_all_at(zeros.split_at(len).0, at)
            .map_err(unsupported)?;
        at += len as u64;
    }
    Ok(())
}

/// Refusals of direct I/O under one name.
fn unsupported(e: io::Error) -> io::Error {
    match e.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL | Errno::OPNOTSUPP) => io::ErrorKind::Unsupported.into(),
        _ => e,
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam")]
fn open_direct_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(path)
        .map_err(unsupported)
}

/// Opens the file a second time, and reads from it to check that the file system and the device
/// support direct I/O of pages.
pub(crate) fn open_direct(path: &Path) -> io::Result<File> {
    if rustix::param::page_size() != PAGE {
        return Err(io::ErrorKind::Unsupported.into()); // parts of the memory would not be whole pages
    }
    let direct = open_direct_for_writing(path)?;
    // The pages in the page cache are of no use any more, and slow down every write.
    let _ = rustix::fs::fadvise(&direct, 0, None, rustix::fs::Advice::DontNeed);
    let mut page = MmapMut::map_anon(PAGE)?;
    uninterrupted(|| {
        let buffers = &mut [IoSliceMut::new(&mut page)];
        Ok(rustix::io::preadv(&direct, buffers, 0)?)
    })
    .map_err(|e| match unsupported(e) {
        refused if refused.kind() == io::ErrorKind::Unsupported => refused,
        failed => DiskError::wrap_at(Call::Read, path, 0, failed),
    })?;
    Ok(direct)
}

/// Opens the file a second time for bare writes of whole pages past the page cache, of which each
/// is a sync as well.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub(crate) fn open_synced(path: &Path) -> io::Result<File> {
    open_direct(path)?;
    let flags = OFlags::DIRECT | OFlags::DSYNC;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(unsupported)
}

/// Writes whole pages with `write`: those of `whole` and then those of `tail`, from offset `at` on.
///
/// A count says how much was written *and* synced, so the write goes on at the first page that is
/// not whole. That is a new write, not a failed one made again. A count below a page writes the
/// page in hand once more, and a second one in a row is an error. Any error is final, EINTR too.
pub(crate) fn write_pages(
    mut whole: &[u8],
    mut tail: &[u8],
    mut at: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut stuck = false;
    while !whole.is_empty() || !tail.is_empty() {
        let written = write(&[IoSlice::new(whole), IoSlice::new(tail)], at)?;
        let pages = written / PAGE * PAGE;
        if pages == 0 && (written == 0 || stuck) {
            let what = format!("only {written} bytes of a page were written at offset {at}");
            return Err(io::Error::new(io::ErrorKind::WriteZero, what));
        }
        stuck = pages == 0;
        at += pages as u64;
        let of_whole = pages.min(whole.len());
        whole = whole.split_at(of_whole).1;
        tail = tail.split_at((pages - of_whole).min(tail.len())).1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes into a vector, of each call as much as `counts` says; `None` is EINTR.
    fn write(counts: &[Option<usize>]) -> (io::Result<()>, Vec<u8>, usize) {
        let whole = [[1; PAGE], [2; PAGE], [3; PAGE]].concat();
        let tail = vec![0xEE; PAGE];
        let (mut medium, mut calls) = (vec![0; 6 * PAGE], 0);
        let result = write_pages(&whole, &tail, PAGE as u64, |buffers, at| {
            let count = counts.get(calls).copied().unwrap_or(Some(usize::MAX));
            calls += 1;
            let Some(count) = count else {
                return Err(io::ErrorKind::Interrupted.into());
            };
            let all: Vec<u8> = buffers.iter().map(|b| &b[..]).collect::<Vec<_>>().concat();
            let count = count.min(all.len());
            let at = usize::try_from(at).unwrap();
            assert_eq!((at % PAGE, all.len() % PAGE), (0, 0), "whole pages");
            medium[at..at + count].copy_from_slice(&all[..count]);
            Ok(count)
        });
        let expected = [&[0; PAGE][..], &whole, &tail, &[0; PAGE]].concat();
        if result.is_ok() {
            assert!(medium == expected, "all of it, at its place");
        }
        (result, medium, calls)
    }

    /// F20: a direct write that comes short ended in an error where it stopped within its first
    /// page.
    #[test]
    fn a_short_direct_write_goes_on_at_the_page_in_which_it_stopped() {
        for (counts, calls) in [
            (&[][..], 1),
            (&[Some(PAGE)], 2),
            (&[Some(PAGE + 100)], 2),
            (&[Some(3 * PAGE + 512)], 2),
            (&[Some(512)], 2),
            (&[Some(512), Some(PAGE), Some(1), Some(PAGE)], 5),
        ] {
            let (result, _, made) = write(counts);
            result.unwrap();
            assert_eq!(made, calls, "{counts:?}");
        }
    }

    /// F20: a write without progress ends.
    #[test]
    fn a_direct_write_that_makes_no_progress_is_an_error() {
        for counts in [
            &[Some(0)][..],
            &[Some(512), Some(512)],
            &[Some(PAGE), Some(0)],
        ] {
            let (result, _, calls) = write(counts);
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WriteZero);
            assert_eq!(calls, counts.len(), "{counts:?}");
        }
    }

    /// F18: the write is a sync as well. Made again after a signal it could succeed without what
    /// the first one lost.
    #[test]
    fn an_interrupted_direct_write_is_final() {
        for counts in [&[None][..], &[Some(PAGE), None], &[Some(512), None]] {
            let (result, _, calls) = write(counts);
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Interrupted);
            assert_eq!(calls, counts.len(), "{counts:?}");
        }
    }
}
