//! Reading the pages of a mapped file with `read`, where the system cannot read them in by their
//! address. What was read is in the page cache, where touching finds it.

use crate::call::Call;
use crate::error::DiskError;
use crate::interrupted::uninterrupted;
use crate::os::size::{cut_short, length};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The longest single read.
const PIECE: usize = 64 << 10;

/// Reads the pages of `range`, which lie in a map of the first `mapped` bytes of `file`, and drops
/// them.
///
/// # Errors
/// Why a byte cannot be read, with its offset; [`io::ErrorKind::UnexpectedEof`] if the file was cut
/// short of one of the pages.
pub(crate) fn read_through(
    file: &File,
    path: &Path,
    mapped: usize,
    range: &Range<usize>,
) -> io::Result<()> {
    let (mut at, end) = (range.start, range.end.min(mapped));
    let mut buffer = vec![0; PIECE.min(end.saturating_sub(at))];
    while at < end {
        let wanted = buffer.len().min(end - at);
        let read = uninterrupted(|| file.read_at(buffer.split_at_mut(wanted).0, at as u64));
        match read {
            Ok(0) => {
                let len = length(file)?;
                // The page in which the file ends can be touched.
                let page = rustix::param::page_size() as u64;
                if len.next_multiple_of(page) >= end as u64 {
                    return Ok(());
                }
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, cut_short(len, mapped));
                return Err(DiskError::wrap_at(Call::Populate, path, len, cut));
            }
            Ok(read) => at += read,
            Err(e) => return Err(DiskError::wrap_at(Call::Populate, path, at as u64, e)),
        }
    }
    Ok(())
}

#[cfg(test)]
#[cfg_attr(miri, allow(unused, reason = "Miri has no such files"))]
mod tests {
    use super::*;
    use std::io::Write;

    /// F30, F31: without `MADV_POPULATE_READ` the pages are read as one reads a file, and an error
    /// says where.
    #[test]
    #[cfg_attr(miri, ignore = "Miri has no such files")]
    fn pages_can_be_read_through_where_the_kernel_cannot_populate() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 300_000]).unwrap();
        let read = |range| read_through(&file, Path::new("/f"), 300_000, &range);
        read(0..303_104).unwrap();
        read(299_008..303_104).unwrap();
        read(303_104..303_104).unwrap();
        file.set_len(100_000).unwrap();
        read(4096..102_400).unwrap(); // the page in which it was cut is there
        for start in [4096, 200_000] {
            let error = read(start..303_104).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(DiskError::of(&error).unwrap().offset(), Some(100_000));
        }
    }
}
