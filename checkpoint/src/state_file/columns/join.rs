//! A payload that was taken apart, put together again.

use crate::state_file::columns::value::{Head, append_name, head, len, map_head};
use crate::state_file::columns::{
    COUNTS, FIRST, MAX_DEPTH, MAX_FIELDS, MAX_SHAPES, REST, SHAPE, column_of,
};

/// What a map of a shape is written as, without its values: head and first name, then the others.
struct Shape {
    names: Vec<Vec<u8>>,
    /// The head of a map without fields.
    head: Vec<u8>,
    first: usize,
}

struct Join<'a> {
    shapes: Vec<Shape>,
    /// What is left of each column.
    columns: Vec<&'a [u8]>,
    out: Vec<u8>,
    most: usize,
}

/// No payload of `raw_len` bytes has more than so many when it is taken apart: each item had its
/// length, and each name was there.
pub(crate) fn most(raw_len: u64) -> u64 {
    raw_len.saturating_mul(5).saturating_add(64)
}

/// The payload of `raw_len` bytes.
pub(crate) fn join(
    apart: &[u8],
    removed: u64,
    entries: u64,
    raw_len: u64,
) -> Result<Vec<u8>, String> {
    let joined = Join::open(apart, raw_len).and_then(|join| join.items(removed, entries));
    let joined = joined.filter(|bytes| bytes.len() as u64 == raw_len);
    joined.ok_or_else(|| "its columns do not fit together".to_owned())
}

impl<'a> Join<'a> {
    fn open(apart: &'a [u8], raw_len: u64) -> Option<Self> {
        let (count, mut rest) = apart.split_first()?;
        let mut shapes = Vec::new();
        let mut columns = FIRST;
        for _ in 0..*count {
            let (fields, after) = rest.split_first()?;
            let (fields, first) = (usize::from(*fields), columns);
            rest = after;
            let head = map_head(fields);
            let mut names = Vec::with_capacity(fields);
            for _ in 0..fields {
                let Head::Text(begin, len) = self::head(rest)? else {
                    return None;
                };
                let mut written = if names.is_empty() {
                    head.clone()
                } else {
                    Vec::new()
                };
                append_name(&mut written, rest.get(begin..len)?);
                names.push(written);
                rest = rest.get(len..)?;
            }
            columns += fields;
            shapes.push(Shape { names, head, first });
        }
        if shapes.len() > MAX_SHAPES || shapes.iter().any(|s| s.names.len() > MAX_FIELDS) {
            return None;
        }
        let (lens, mut rest) = rest.split_at_checked(columns * 4)?;
        let mut columns = Vec::with_capacity(columns);
        for len in lens.chunks_exact(4) {
            let len = u32::from_le_bytes(*len.first_chunk()?);
            let (column, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            columns.push(column);
            rest = after;
        }
        rest.is_empty().then_some(Self {
            shapes,
            columns,
            // What is there is a reason to allocate, what is claimed is not.
            out: Vec::with_capacity(apart.len()),
            most: usize::try_from(raw_len).ok()?,
        })
    }

    fn items(mut self, removed: u64, entries: u64) -> Option<Vec<u8>> {
        let items = removed.checked_add(entries.checked_mul(2)?)?;
        for item in 0..items {
            let (count, rest) = self.columns.get(COUNTS)?.split_first()?;
            *self.columns.get_mut(COUNTS)? = rest;
            let at = self.out.len();
            self.out.extend_from_slice(&[0; 4]);
            for value in 0..*count {
                let column = if value == 0 {
                    column_of(item, removed)
                } else {
                    REST
                };
                self.value(column, 0)?;
            }
            let len = u32::try_from(self.out.len().checked_sub(at + 4)?).ok()?;
            let place = self.out.get_mut(at..at + 4)?;
            place.copy_from_slice(&len.to_le_bytes());
        }
        let is_used = self.columns.iter().all(|column| column.is_empty());
        is_used.then_some(self.out)
    }

    fn append(&mut self, bytes: &[u8]) -> Option<()> {
        self.out.extend_from_slice(bytes);
        (self.out.len() <= self.most).then_some(())
    }

    fn copy(&mut self, column: usize, len: usize) -> Option<()> {
        let place = self.columns.get_mut(column)?;
        let (copied, rest) = place.split_at_checked(len)?;
        *place = rest;
        self.append(copied)
    }

    /// Appends the next value of a column.
    fn value(&mut self, column: usize, depth: usize) -> Option<()> {
        let rest = *self.columns.get(column)?;
        if let [SHAPE, number, after @ ..] = rest {
            *self.columns.get_mut(column)? = after;
            return self.shaped(usize::from(*number), depth);
        }
        let (begin, count) = match head(rest)? {
            Head::Scalar(len) | Head::Text(_, len) => return self.copy(column, len),
            Head::Array(..) | Head::Map(..) if depth >= MAX_DEPTH => {
                return self.copy(column, len(rest)?);
            }
            Head::Array(count, len) => (len, count),
            Head::Map(count, len) => (len, count.checked_mul(2)?),
        };
        self.copy(column, begin)?;
        (0..count).try_for_each(|_| self.value(column, depth + 1))
    }

    fn shaped(&mut self, shape: usize, depth: usize) -> Option<()> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let Shape { names, head, first } = self.shapes.get(shape)?;
        let (fields, first) = (names.len(), *first);
        if fields == 0 {
            let head = head.clone();
            return self.append(&head);
        }
        for field in 0..fields {
            let name = self.shapes.get(shape)?.names.get(field)?;
            self.out.extend_from_slice(name);
            self.value(first + field, depth + 1)?;
        }
        Some(())
    }
}
