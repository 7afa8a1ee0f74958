//! How a file is cut into ranges: after line ends, about 1 MiB each.

use crate::lines::DEFAULT_MAX_LINE_BYTES;
use highwater_engine::wal::disk::DiskFile;
use std::io;
use xxhash_rust::xxh3::xxh3_128;

/// The longest range. A line that does not end within one is too long.
pub(super) const WINDOW: usize = DEFAULT_MAX_LINE_BYTES + (4 << 10);

/// What a range begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Begins {
    /// A line.
    WithALine = 0,
    /// The rest of a line that is too long.
    WithinALine = 1,
    /// Text of which nothing is read: UTF-16.
    WithoutLines = 2,
}

/// A range of a file, and what tells that it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) begins: Begins,
    pub(super) hash: u128,
    /// Line ends in it, at least one if it is not empty: a rate must not stand still.
    pub(super) lines: u64,
}

impl Piece {
    /// What the cut has beside the offsets.
    pub(super) fn identity(&self) -> Vec<u8> {
        identity(self.begins, self.hash)
    }
}

fn identity(begins: Begins, hash: u128) -> Vec<u8> {
    let mut identity = vec![begins as u8];
    identity.extend(hash.to_le_bytes());
    identity
}

/// What a range begins with, if `bytes` are those of the range with this identity.
pub(super) fn check(recorded: &[u8], bytes: &[u8]) -> Option<Begins> {
    let hash = xxh3_128(bytes);
    let all = [Begins::WithALine, Begins::WithinALine, Begins::WithoutLines];
    all.into_iter()
        .find(|begins| identity(*begins, hash) == recorded)
}

/// The next range of a file of `len` bytes, with at most `max_lines` lines. `buffer` is room for
/// it.
pub(super) fn next(
    file: &dyn DiskFile,
    (from, len): (u64, u64),
    max_lines: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Piece> {
    let mut first = [0; 2];
    let is_utf16 = len >= 2 && {
        read_exact(file, &mut first, 0)?;
        first == *b"\xff\xfe" || first == *b"\xfe\xff"
    };
    let begins = match from {
        _ if is_utf16 => Begins::WithoutLines,
        0 => Begins::WithALine,
        from => {
            let mut before = [0; 1];
            read_exact(file, &mut before, from - 1)?;
            match before {
                [b'\n'] => Begins::WithALine,
                _ => Begins::WithinALine,
            }
        }
    };
    let left = usize::try_from(len - from).unwrap_or(usize::MAX);
    buffer.resize(left.min(WINDOW), 0);
    read_exact(file, buffer, from)?;
    if left > WINDOW
        && let Some(line_end) = memchr::memrchr(b'\n', buffer)
    {
        buffer.truncate(line_end + 1);
    }
    let mut lines = 0;
    let last = memchr::memchr_iter(b'\n', buffer).find(|_| {
        lines += 1;
        lines >= max_lines
    });
    if let Some(line_end) = last {
        buffer.truncate(line_end + 1);
    }
    Ok(Piece {
        lines: lines.max(u64::from(!buffer.is_empty())),
        from,
        to: from + buffer.len() as u64,
        begins,
        hash: xxh3_128(buffer),
    })
}

/// Fills `buffer` from `offset` on.
pub(super) fn read_exact(
    file: &dyn DiskFile,
    mut buffer: &mut [u8],
    mut offset: u64,
) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the file ends at byte {offset}"),
                ));
            }
            Ok(count) => {
                buffer = buffer.get_mut(count..).unwrap_or_default();
                offset += count as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
