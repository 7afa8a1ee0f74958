//! Writing a file in pieces, and what a file holds.

use highwater_engine::wal::disk::{Access, Disk, DiskFile};
use std::io::{self, Write};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// A file is written and read in pieces of about this size.
const PIECE_BYTES: usize = 256 << 10;

/// What a file holds: its length, and a hash of its bytes (XXH3-64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: u64,
    pub(super) hash: u64,
}

/// Writes a file from its beginning.
pub(super) struct Pieces<'a> {
    file: &'a dyn DiskFile,
    piece: Vec<u8>,
    offset: u64,
    hash: Xxh3,
    /// The file's own error: what a format makes of it may hide it.
    failed: Option<io::Error>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(file: &'a dyn DiskFile) -> Self {
        Self {
            file,
            piece: Vec::new(),
            offset: 0,
            hash: Xxh3::new(),
            failed: None,
        }
    }

    fn write_piece(&mut self) -> io::Result<()> {
        self.hash.update(&self.piece);
        if let Err(error) = self.file.write_all_at(&self.piece, self.offset) {
            self.failed = Some(error);
            return Err(io::Error::other("the file could not be written"));
        }
        self.offset += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    /// The file's own error, if that is why writing has failed.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Writes what is left. Nothing is synced.
    pub(super) fn finish(&mut self) -> io::Result<Content> {
        if self.write_piece().is_err()
            && let Some(error) = self.failed.take()
        {
            return Err(error);
        }
        Ok(Content {
            bytes: self.offset,
            hash: self.hash.digest(),
        })
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.write_piece()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what a file holds.
pub(super) fn content_of(disk: &dyn Disk, path: &Path) -> io::Result<Content> {
    let file = disk.open(path, Access::Read)?;
    let bytes = file.len()?;
    let (mut hash, mut piece) = (Xxh3::new(), vec![0; PIECE_BYTES]);
    let mut at = 0;
    while at < bytes {
        let count = usize::try_from(bytes - at).map_or(PIECE_BYTES, |rest| rest.min(PIECE_BYTES));
        let read = piece.split_at_mut(count).0;
        file.read_exact_at(read, at)?;
        hash.update(read);
        at += count as u64;
    }
    let hash = hash.digest();
    Ok(Content { bytes, hash })
}
