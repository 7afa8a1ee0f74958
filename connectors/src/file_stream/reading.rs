//! The lines of a range.

use super::cutting::Begins;
use crate::lines::{DEFAULT_MAX_LINE_BYTES, LineBuffer, Piece, text_of};
use bytes::Bytes;

/// Calls `emit` for each line of the range `bytes`, which begins at `from`, with its offset, and
/// `skip` for what is left out, with its offset and why.
pub(super) fn lines(
    bytes: &Bytes,
    (from, begins): (u64, Begins),
    emit: &mut dyn FnMut(u64, Bytes),
    skip: &mut dyn FnMut(u64, String),
) {
    let rest = match begins {
        Begins::WithALine => 0,
        Begins::WithoutLines => {
            if from == 0 {
                skip(
                    0,
                    "the file is skipped: it is UTF-16, as its first two bytes say; convert it to UTF-8 and move it in again".to_owned(),
                );
            }
            return;
        }
        Begins::WithinALine => match memchr::memchr(b'\n', bytes) {
            Some(line_end) => line_end + 1,
            None => return,
        },
    };
    let bytes = bytes.slice(rest..);
    let mut left = &bytes[..];
    let mut buffer = LineBuffer::new(DEFAULT_MAX_LINE_BYTES, from + rest as u64);
    loop {
        let filled = buffer.fill(|room| {
            let count = room.len().min(left.len());
            let (now, later) = left.split_at(count);
            if let Some(room) = room.get_mut(..count) {
                room.copy_from_slice(now);
            }
            left = later;
            Ok(count)
        });
        let is_over = !matches!(filled, Ok(count) if count > 0);
        let mut pieces = buffer.take(usize::MAX);
        if is_over {
            pieces.extend(buffer.finish());
        }
        for piece in pieces {
            match piece {
                Piece::TooLong { at } => {
                    skip(at, format!("longer than {DEFAULT_MAX_LINE_BYTES} bytes"));
                }
                Piece::Line { range, at, .. } => {
                    let line = buffer.bytes(&range);
                    match text_of(line) {
                        Ok(_) => emit(at, Bytes::copy_from_slice(line)),
                        Err(wrong) => {
                            skip(at, format!("not utf-8: the byte at {wrong} of the line"));
                        }
                    }
                }
            }
        }
        if is_over {
            return;
        }
    }
}
