//! Cuts a stream of bytes into lines with bounded memory, and lines into groups that fit the log.
//!
//! A line ends with `\n` or `\r\n`; neither belongs to it. A line that is too long is reported
//! once, as soon as that is known. The rest of it is dropped while it arrives: a line of 1 GiB
//! costs no more memory than the longest allowed.
//!
//! A byte order mark at the beginning of the stream does not belong to its first line.

use highwater_engine::{BoxError, SourceContext};
use memchr::memchr;
use std::io;
use std::ops::Range;

/// The first read of a quiet connection asks for so many bytes; each read that fills its room
/// doubles it ...
const MIN_READ_BYTES: usize = 8 << 10;
/// ... up to this.
const MAX_READ_BYTES: usize = 256 << 10;

/// Lines of one append; appended together they are one frame of the log.
const MAX_GROUP_LINES: usize = 1024;
const MAX_GROUP_BYTES: usize = 256 << 10;

/// The byte order mark of UTF-8, which some editors put before the text.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The longest line unless the program says otherwise.
pub(crate) const DEFAULT_MAX_LINE_BYTES: usize = 1 << 20;

/// What a frame needs besides its records, at most: its framing, and the header with the producer's
/// name. The longest such name is that of a file: 255 bytes, each escaped to at most four.
pub(crate) const FRAME_RESERVE_BYTES: usize = 2048;
/// What the log adds to every record of a frame.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 4;

/// How long a line and how large a group may be in the log of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_line_bytes: usize,
    max_group_bytes: usize,
}

impl Limits {
    /// The limits of a source whose program asks for `max_line_bytes`.
    pub(crate) fn of(source: &SourceContext, asked: Option<usize>) -> Result<Self, BoxError> {
        Self::for_records_of(source.max_record_bytes(), asked)
    }

    fn for_records_of(max_record_bytes: usize, asked: Option<usize>) -> Result<Self, BoxError> {
        let room = max_record_bytes.saturating_sub(FRAME_RESERVE_BYTES);
        let max_line_bytes = asked.unwrap_or(DEFAULT_MAX_LINE_BYTES.min(room));
        if max_line_bytes == 0 || max_line_bytes > room {
            return Err(format!(
                "max_line_bytes is {max_line_bytes}, but it must be from 1 to {room}: the log takes records of \
                 {max_record_bytes} bytes and {FRAME_RESERVE_BYTES} of them are needed besides the line; \
                 raise max_record_bytes (and segment_size) of the log's options, or lower max_line_bytes"
            )
            .into());
        }
        Ok(Self {
            max_line_bytes,
            max_group_bytes: MAX_GROUP_BYTES.min(room),
        })
    }

    /// Splits records into groups that each fit one append; `size` is a record's length in bytes.
    pub(crate) fn groups<T>(
        self,
        mut rest: &[T],
        size: impl Fn(&T) -> usize,
    ) -> impl Iterator<Item = &[T]> {
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fits = rest.iter().take(MAX_GROUP_LINES).take_while(|record| {
                bytes += size(record) + RECORD_OVERHEAD_BYTES;
                bytes <= self.max_group_bytes
            });
            // A line may be longer than a group: it goes alone.
            let (group, others) = rest.split_at(fits.count().max(1).min(rest.len()));
            rest = others;
            (!group.is_empty()).then_some(group)
        })
    }
}

/// Something found in the stream. Offsets are bytes from the beginning of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A line.
    Line {
        /// Where [`LineBuffer::bytes`] has it, until the next `fill`.
        range: Range<usize>,
        /// Where it begins.
        at: u64,
        /// Where the next one begins.
        next: u64,
    },
    /// A line over the limit begins here.
    TooLong {
        /// Where it begins.
        at: u64,
    },
}

/// Bytes that were read and not yet handed out. Holds at most the longest line and one read, and up
/// to twice that while it grows.
#[derive(Debug)]
pub(crate) struct LineBuffer {
    buf: Vec<u8>,
    /// Where the first byte of `buf` is in the stream.
    base: u64,
    /// What is handed out ends here.
    start: usize,
    /// There is no line end between `start` and here.
    searched: usize,
    /// What was read ends here.
    end: usize,
    max_line_bytes: usize,
    read_bytes: usize,
    /// The line at `start` was reported as too long; the rest of it is dropped.
    discarding: bool,
}

impl LineBuffer {
    /// A buffer for a stream of which the first `offset` bytes are not wanted.
    pub(crate) fn new(max_line_bytes: usize, offset: u64) -> Self {
        Self {
            buf: Vec::new(),
            base: offset,
            start: 0,
            searched: 0,
            end: 0,
            max_line_bytes,
            read_bytes: MIN_READ_BYTES,
            discarding: false,
        }
    }

    /// Calls `read` once with room for more bytes. Take all pieces out first.
    pub(crate) fn fill(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.compact();
        let until = self.end + self.read_bytes;
        if self.buf.len() < until {
            self.buf.resize(until, 0);
        }
        let count = read(self.buf.get_mut(self.end..until).unwrap_or_default())?;
        assert!(
            count <= self.read_bytes,
            "a read returned more than there was room for"
        );
        self.end += count;
        if count == self.read_bytes {
            self.read_bytes = (2 * self.read_bytes).min(MAX_READ_BYTES);
        }
        Ok(count)
    }

    /// Takes out up to `most` pieces. Fewer come only if there are no more.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while pieces.len() < most {
            let unsearched = self.buf.get(self.searched..self.end).unwrap_or_default();
            let Some(found) = memchr(b'\n', unsearched) else {
                self.searched = self.end;
                pieces.extend(self.overflow());
                break;
            };
            let line_end = self.searched + found;
            if self.discarding {
                self.discarding = false;
            } else {
                pieces.push(self.piece(line_end, line_end + 1));
            }
            self.start = line_end + 1;
            self.searched = self.start;
        }
        pieces
    }

    /// At the end of the stream: takes out a last line without a line end.
    pub(crate) fn finish(&mut self) -> Option<Piece> {
        let content = self.start + self.mark_len();
        let last = (content < self.end && !self.discarding).then(|| self.piece(self.end, self.end));
        self.start = self.end;
        self.searched = self.end;
        last
    }

    /// The content of a line.
    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.buf.get(range.clone()).unwrap_or_default()
    }

    /// Where the unfinished line begins, if there is one.
    pub(crate) fn unfinished(&self) -> Option<u64> {
        (self.start < self.end || self.discarding).then(|| self.position(self.start))
    }

    /// Whether the stream begins with the byte order mark of UTF-16 (or of UTF-32 with the low byte
    /// first), and nothing was taken out yet. Such a stream holds line ends and zeros that would
    /// pass for lines.
    pub(crate) fn begins_as_utf16(&self) -> bool {
        let begun = self.begun();
        begun.starts_with(b"\xff\xfe") || begun.starts_with(b"\xfe\xff")
    }

    /// What has arrived, if nothing was taken out yet.
    fn begun(&self) -> &[u8] {
        let at_start = self.base == 0 && self.start == 0 && !self.discarding;
        let begun = self.buf.get(..self.end).filter(|_| at_start);
        begun.unwrap_or_default()
    }

    /// Length of the byte order mark that comes next.
    fn mark_len(&self) -> usize {
        if self.begun().starts_with(UTF8_MARK) {
            UTF8_MARK.len()
        } else {
            0
        }
    }

    fn piece(&self, line_end: usize, next: usize) -> Piece {
        let at = self.position(self.start);
        let start = self.start + self.mark_len();
        let line = self.buf.get(start..line_end).unwrap_or_default();
        let end = line_end - usize::from(line.last() == Some(&b'\r'));
        if end - start > self.max_line_bytes {
            return Piece::TooLong { at };
        }
        Piece::Line {
            range: start..end,
            at,
            next: self.position(next),
        }
    }

    /// Gives up an unfinished line that is too long already.
    fn overflow(&mut self) -> Option<Piece> {
        let waiting = self.end - self.start - self.mark_len();
        // One byte more may be the `\r` of the line end.
        let found =
            (!self.discarding && waiting > self.max_line_bytes + 1).then(|| Piece::TooLong {
                at: self.position(self.start),
            });
        self.discarding |= found.is_some();
        if self.discarding {
            self.start = self.end;
        }
        found
    }

    fn position(&self, index: usize) -> u64 {
        self.base + index as u64
    }

    fn compact(&mut self) {
        self.base = self.position(self.start);
        self.buf.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.searched -= self.start;
        self.start = 0;
        if self.end == 0 && self.buf.len() > 2 * MAX_READ_BYTES {
            self.buf = Vec::new(); // a long line went through: give its room back
        }
    }
}

/// The line as text, or where it stops being UTF-8.
pub(crate) fn text_of(line: &[u8]) -> Result<&str, usize> {
    std::str::from_utf8(line).map_err(|e| e.valid_up_to())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a reader of the whole stream at once would find: (offset, line or too long).
    fn naive(stream: &[u8], max: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut at = 0;
        let mut found = Vec::new();
        for piece in stream.split_inclusive(|b| *b == b'\n') {
            let line = piece.strip_suffix(b"\n").unwrap_or(piece);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            found.push((at, (line.len() <= max).then(|| line.to_vec())));
            at += piece.len() as u64;
        }
        found
    }

    fn buffered(stream: &[u8], max: usize, reads: &[usize]) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut buffer = LineBuffer::new(max, 0);
        let mut found = Vec::new();
        let mut rest = stream;
        let mut reads = reads.iter().cycle();
        loop {
            let count = buffer
                .fill(|room| {
                    let count = rest.len().min(room.len()).min(*reads.next().unwrap());
                    room[..count].copy_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    Ok(count)
                })
                .unwrap();
            let mut pieces = buffer.take(usize::MAX);
            if count == 0 {
                pieces.extend(buffer.finish());
            }
            for piece in pieces {
                found.push(match piece {
                    Piece::Line { range, at, next } => {
                        assert!(next > at, "a line takes at least its line end");
                        (at, Some(buffer.bytes(&range).to_vec()))
                    }
                    Piece::TooLong { at } => (at, None),
                });
            }
            if count == 0 {
                return found;
            }
        }
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(
            stream in proptest::collection::vec(prop_oneof![4 => 97_u8..100, 1 => Just(b'\n'), 1 => Just(b'\r')], 0..200),
            max in 1_usize..12,
            reads in proptest::collection::vec(1_usize..40, 1..8),
        ) {
            prop_assert_eq!(buffered(&stream, max, &reads), naive(&stream, max));
        }
    }

    fn lines_of(stream: &[u8], max: usize, reads: &[usize]) -> Vec<Option<String>> {
        let found = buffered(stream, max, reads).into_iter();
        found
            .map(|(_, line)| line.map(|line| String::from_utf8(line).unwrap()))
            .collect()
    }

    /// An editor's byte order mark became part of the first line, so that a key was there twice.
    #[test]
    fn a_byte_order_mark_is_removed_at_the_beginning_and_nowhere_else() {
        let some = |line: &str| Some(line.to_owned());
        for reads in [&[100][..], &[1], &[2, 1], &[3], &[4, 100]] {
            let mark = "\u{feff}";
            let twice = format!("{mark}{mark}a\r\n{mark}b\n");
            let expected = [some("\u{feff}a"), some("\u{feff}b")];
            assert_eq!(lines_of(twice.as_bytes(), 9, reads), expected);
            assert_eq!(
                lines_of(mark.as_bytes(), 9, reads),
                [],
                "a mark alone is no line"
            );
            assert_eq!(
                lines_of(format!("{mark}\n").as_bytes(), 9, reads),
                [some("")]
            );
            let longest = format!("{mark}123456789\r\n1234567890\n");
            assert_eq!(
                lines_of(longest.as_bytes(), 9, reads),
                [some("123456789"), None]
            );
            assert_eq!(lines_of("\u{feff}x".as_bytes(), 9, reads), [some("x")]);
            assert_eq!(
                buffered(b"\xef\xbbx\n", 9, reads)[0].1.as_ref().unwrap(),
                b"\xef\xbbx"
            );
        }
        let mut resumed = LineBuffer::new(9, 4);
        resumed
            .fill(|room| {
                room[..5].copy_from_slice("\u{feff}a\n".as_bytes());
                Ok(5)
            })
            .unwrap();
        let [Piece::Line { range, .. }] = &resumed.take(9)[..] else {
            panic!("one line");
        };
        assert_eq!(resumed.bytes(range), "\u{feff}a".as_bytes());
    }

    #[test]
    fn utf16_is_recognised_by_its_mark_at_the_beginning() {
        for (bytes, expected) in [
            (&b"\xff\xfea\0"[..], true),
            (b"\xfe\xff\0a", true),
            (b"\xff", false),
            (b"a\xff\xfe", false),
            (b"", false),
        ] {
            let mut buffer = LineBuffer::new(9, 0);
            let count = bytes.len();
            buffer
                .fill(|room| {
                    room[..count].copy_from_slice(bytes);
                    Ok(count)
                })
                .unwrap();
            assert_eq!(buffer.begins_as_utf16(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn memory_stays_bounded_in_a_line_without_end() {
        let mut buffer = LineBuffer::new(1000, 0);
        let mut reported = 0;
        for _ in 0..1000 {
            buffer.fill(|room| Ok(room.len())).unwrap();
            reported += buffer.take(usize::MAX).len();
            assert!(
                buffer.buf.capacity() <= 2 * (1000 + MAX_READ_BYTES),
                "{}",
                buffer.buf.capacity()
            );
        }
        assert_eq!(reported, 1);
        assert_eq!(buffer.unfinished(), Some(buffer.base + buffer.start as u64));
    }

    #[test]
    fn a_buffer_that_was_large_gives_its_memory_back() {
        let mut buffer = LineBuffer::new(8 << 20, 0);
        for _ in 0..20 {
            buffer.fill(|room| Ok(room.len())).unwrap();
            assert_eq!(buffer.take(9), vec![]);
        }
        let line_end = |room: &mut [u8]| {
            room[0] = b'\n';
            Ok(1)
        };
        buffer.fill(line_end).unwrap();
        assert_eq!(buffer.take(9).len(), 1);
        buffer.fill(|_| Ok(0)).unwrap();
        assert!(buffer.buf.capacity() <= 2 * MAX_READ_BYTES);
    }

    #[test]
    fn groups_are_bounded_in_lines_and_bytes_and_lose_nothing() {
        let limits = Limits::for_records_of(8192, None).unwrap();
        assert_eq!(
            (limits.max_line_bytes, limits.max_group_bytes),
            (6144, 6144)
        );
        let lines = [vec![0; 6144], vec![1; 10], vec![2; 6130], vec![3; 6131]];
        let sizes: Vec<usize> = limits.groups(&lines, Vec::len).map(<[_]>::len).collect();
        assert_eq!(sizes, [1, 1, 1, 1]);
        let many = vec![(); 3000];
        let sizes: Vec<usize> = limits.groups(&many, |()| 0).map(<[_]>::len).collect();
        assert_eq!(sizes, [1024, 1024, 952]);
    }

    #[test]
    fn a_line_limit_over_the_logs_is_refused_with_both_numbers() {
        let error = Limits::for_records_of(8192, Some(7000))
            .unwrap_err()
            .to_string();
        assert!(error.contains("7000") && error.contains("8192"), "{error}");
        assert!(Limits::for_records_of(100, None).is_err());
    }
}
