//! A payload taken apart.

use crate::entries::take;
use crate::merge::Payload;
use crate::state_file::columns::value::{Head, head, is_short, len, map_head};
use crate::state_file::columns::{
    COUNTS, FIRST, MAX_DEPTH, MAX_FIELDS, MAX_SHAPES, REST, SHAPE, column_of,
};

/// The names of a map in their order, as they are written, and the column of the first.
struct Shape<'a> {
    names: Vec<&'a [u8]>,
    first: usize,
}

struct Split<'a> {
    shapes: Vec<Shape<'a>>,
    columns: Vec<Vec<u8>>,
    /// Names of the map that is looked at.
    names: Vec<&'a [u8]>,
}

/// The names, the lengths of the columns, and the columns; `None` if the payload is not MessagePack
/// items.
pub(crate) fn split(payload: &Payload) -> Option<Vec<u8>> {
    let mut split = Split {
        shapes: Vec::new(),
        columns: vec![Vec::new(); FIRST],
        names: Vec::new(),
    };
    let items = payload
        .removed
        .checked_add(payload.entries.checked_mul(2)?)?;
    let mut rest = payload.bytes.as_slice();
    for item in 0..items {
        split.item(take(&mut rest)?, column_of(item, payload.removed))?;
    }
    match rest.is_empty() {
        true => split.finish(),
        false => None,
    }
}

impl<'a> Split<'a> {
    fn column(&mut self, column: usize) -> Option<&mut Vec<u8>> {
        self.columns.get_mut(column)
    }

    fn item(&mut self, mut bytes: &'a [u8], column: usize) -> Option<()> {
        let mut count = 0_u8;
        while !bytes.is_empty() {
            let column = if count == 0 { column } else { REST };
            self.value(&mut bytes, column, 0)?;
            count = count.checked_add(1)?;
        }
        self.column(COUNTS)?.push(count);
        Some(())
    }

    /// Moves the first value of `bytes` into a column, what it holds into those of its fields.
    fn value(&mut self, bytes: &mut &'a [u8], column: usize, depth: usize) -> Option<()> {
        let (count, found) = match head(bytes)? {
            Head::Scalar(len) | Head::Text(_, len) => return self.copy(bytes, len, column),
            Head::Array(..) | Head::Map(..) if depth >= MAX_DEPTH => {
                let len = len(bytes)?;
                return self.copy(bytes, len, column);
            }
            Head::Array(count, len) => {
                self.copy(bytes, len, column)?;
                (count, None)
            }
            Head::Map(count, len) => match self.shape(bytes, count, len)? {
                Some(shape) => {
                    *bytes = bytes.get(len..)?;
                    (count, Some(shape))
                }
                None => {
                    self.copy(bytes, len, column)?;
                    (count.checked_mul(2)?, None)
                }
            },
        };
        let Some(shape) = found else {
            return (0..count).try_for_each(|_| self.value(bytes, column, depth + 1));
        };
        let number = u8::try_from(shape).ok()?;
        self.column(column)?.extend_from_slice(&[SHAPE, number]);
        let first = self.shapes.get(shape)?.first;
        for field in 0..count {
            let name = self.shapes.get(shape)?.names.get(field)?.len();
            *bytes = bytes.get(name..)?;
            self.value(bytes, first + field, depth + 1)?;
        }
        Some(())
    }

    fn copy(&mut self, bytes: &mut &'a [u8], len: usize, column: usize) -> Option<()> {
        let (copied, rest) = bytes.split_at_checked(len)?;
        self.column(column)?.extend_from_slice(copied);
        *bytes = rest;
        Some(())
    }

    /// The number of the shape of a map of `count` keys after a head of `begin` bytes; none if it
    /// is to stay as it is.
    fn shape(&mut self, bytes: &'a [u8], count: usize, begin: usize) -> Option<Option<usize>> {
        if count > MAX_FIELDS || bytes.get(..begin)? != map_head(count) {
            return Some(None);
        }
        self.names.clear();
        let mut rest = bytes.get(begin..)?;
        for _ in 0..count {
            match head(rest)? {
                Head::Text(head, len) if is_short(head, len) => {
                    let (name, after) = rest.split_at_checked(len)?;
                    self.names.push(name);
                    rest = after.get(self::len(after)?..)?;
                }
                _ => return Some(None),
            }
        }
        let names = &self.names;
        let known = self.shapes.iter().position(|shape| shape.names == *names);
        if known.is_some() || self.shapes.len() >= MAX_SHAPES {
            return Some(known);
        }
        self.shapes.push(Shape {
            names: names.clone(),
            first: self.columns.len(),
        });
        let columns = self.columns.len() + count;
        self.columns.resize_with(columns, Vec::new);
        Some(Some(self.shapes.len() - 1))
    }

    fn finish(self) -> Option<Vec<u8>> {
        let columns: usize = self.columns.iter().map(Vec::len).sum();
        let mut out = Vec::with_capacity(columns.checked_add(1024)?);
        out.push(u8::try_from(self.shapes.len()).ok()?);
        for shape in &self.shapes {
            out.push(u8::try_from(shape.names.len()).ok()?);
            shape
                .names
                .iter()
                .for_each(|name| out.extend_from_slice(name));
        }
        for column in &self.columns {
            let len = u32::try_from(column.len()).ok()?;
            out.extend_from_slice(&len.to_le_bytes());
        }
        for column in &self.columns {
            out.extend_from_slice(column);
        }
        Some(out)
    }
}
