//! Entries as rows of a table: which columns there are, and of what type.
//!
//! The first reading of the entries finds out. Keys, and values, that are structs have a column for
//! each field; all others have one. What has no type of its own in a table is JSON text.

use crate::checkpoint::entries::Entry;
use crate::checkpoint::state::selection::Selection;
use crate::decode::{self, LastVisit};
use highwater_log::outcome::Result;
use rmpv::Value as Pack;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Maps with more different keys than this are no structs.
const MAX_FIELDS: usize = 100;

/// The type of a column. Every one may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    /// A signed integer of 64 bits.
    Int,
    /// An unsigned integer of 64 bits: one at least does not fit a signed one.
    UInt,
    Float,
    Text,
    Bytes,
    /// As text: lists, maps that are no structs, and values of different types.
    Json,
}

/// What is in a cell.
#[derive(Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of: Type,
    part: Part,
}

/// Of what a column is.
#[derive(Debug)]
enum Part {
    KeyGroup,
    Key(Option<String>),
    Value(Option<String>),
    LastVisit,
}

/// The columns of a state.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) all: Vec<Column>,
}

impl Columns {
    /// Reads the entries to find out.
    pub(super) fn of(selection: &Selection<'_>) -> Result<Self> {
        let (mut key, mut value) = (Shape::default(), Shape::default());
        let mut has_visits = false;
        selection.each(|entry| {
            key.see(&entry.key);
            value.see(&entry.value);
            has_visits |= entry.last_visit != LastVisit::None;
            Ok(())
        })?;
        let column = |name: &str, of, part| Column {
            name: name.to_owned(),
            of,
            part,
        };
        let mut all = vec![column("key_group", Type::Int, Part::KeyGroup)];
        all.extend(key.columns("key", Part::Key));
        all.extend(value.columns("value", Part::Value));
        if has_visits {
            all.push(column("last_visit_ms", Type::Int, Part::LastVisit));
        }
        Ok(Self { all })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|column| column.name.as_str())
    }

    /// The cells of an entry, one for each column.
    pub(super) fn cells<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = Cell<'a>> {
        self.all.iter().map(move |column| column.cell(entry))
    }
}

impl Column {
    fn cell<'a>(&self, entry: &'a Entry) -> Cell<'a> {
        match &self.part {
            Part::KeyGroup => Cell::Int(entry.key_group.into()),
            Part::Key(field) => self.of.cell(field_of(&entry.key, field.as_deref())),
            Part::Value(field) => self.of.cell(field_of(&entry.value, field.as_deref())),
            Part::LastVisit => match entry.last_visit {
                LastVisit::At(ms) => i64::try_from(ms).map_or(Cell::Null, Cell::Int),
                LastVisit::None | LastVisit::Never => Cell::Null,
            },
        }
    }
}

/// The field of a struct, or all of it.
fn field_of<'a>(value: &'a Pack, field: Option<&str>) -> Option<&'a Pack> {
    let Some(name) = field else {
        return Some(value);
    };
    let fields = value.as_map()?;
    let found = fields.iter().find(|(key, _)| key.as_str() == Some(name));
    found.map(|(_, value)| value)
}

impl Type {
    fn cell(self, value: Option<&Pack>) -> Cell<'_> {
        let Some(value) = value.filter(|value| !value.is_nil()) else {
            return Cell::Null;
        };
        let cell = match self {
            Self::Bool => value.as_bool().map(Cell::Bool),
            Self::Int => value.as_i64().map(Cell::Int),
            Self::UInt => value.as_u64().map(Cell::UInt),
            Self::Float => value.as_f64().map(Cell::Float),
            Self::Text => value.as_str().map(|text| Cell::Text(text.into())),
            Self::Bytes => value.as_slice().map(Cell::Bytes),
            Self::Json => None,
        };
        cell.unwrap_or_else(|| Cell::Text(decode::json(value).to_string().into()))
    }
}

/// What was seen of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// Whether one of them is negative, or too large for a signed integer.
    Integer {
        negative: bool,
        large: bool,
    },
    Of(Type),
}

impl Seen {
    fn of(value: &Pack) -> Self {
        match value {
            Pack::Nil => Self::Nothing,
            Pack::Boolean(_) => Self::Of(Type::Bool),
            Pack::Integer(n) => Self::Integer {
                negative: n.as_u64().is_none(),
                large: n.as_i64().is_none(),
            },
            Pack::F32(_) | Pack::F64(_) => Self::Of(Type::Float),
            Pack::String(text) if text.is_str() => Self::Of(Type::Text),
            Pack::String(_) | Pack::Binary(_) => Self::Of(Type::Bytes),
            Pack::Array(_) | Pack::Map(_) | Pack::Ext(..) => Self::Of(Type::Json),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, seen) | (seen, Self::Nothing) => seen,
            (
                Self::Integer { negative, large },
                Self::Integer {
                    negative: n,
                    large: l,
                },
            ) => Self::Integer {
                negative: negative | n,
                large: large | l,
            },
            (a, b) if a == b => a,
            _ => Self::Of(Type::Json),
        }
    }

    fn to_type(self) -> Type {
        match self {
            Self::Nothing => Type::Text,
            Self::Integer {
                negative: true,
                large: true,
            } => Type::Json,
            Self::Integer { large: true, .. } => Type::UInt,
            Self::Integer { .. } => Type::Int,
            Self::Of(known) => known,
        }
    }
}

/// What was seen of all keys, or of all values.
#[derive(Debug)]
struct Shape {
    /// Those that are no structs.
    whole: Seen,
    /// The fields of those that are, in the order in which they were seen; none if these are too
    /// many.
    fields: Option<Vec<(String, Seen)>>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            whole: Seen::Nothing,
            fields: Some(Vec::new()),
        }
    }
}

impl Shape {
    fn see(&mut self, value: &Pack) {
        let Some(found) = fields(value) else {
            self.whole = self.whole.and(Seen::of(value));
            return;
        };
        let Some(fields) = &mut self.fields else {
            return;
        };
        for (name, value) in found {
            let seen = Seen::of(value);
            match fields.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = known.and(seen),
                None => fields.push((name.to_owned(), seen)),
            }
        }
        if fields.len() > MAX_FIELDS {
            self.fields = None;
        }
    }

    fn columns(self, name: &str, part: fn(Option<String>) -> Part) -> Vec<Column> {
        let one = |of| {
            vec![Column {
                name: name.to_owned(),
                of,
                part: part(None),
            }]
        };
        match self.fields {
            Some(fields) if fields.is_empty() => one(self.whole.to_type()),
            Some(fields) if self.whole == Seen::Nothing => {
                let columns = fields.into_iter().map(|(field, seen)| Column {
                    name: format!("{name}.{field}"),
                    of: seen.to_type(),
                    part: part(Some(field)),
                });
                columns.collect()
            }
            _ => one(Type::Json),
        }
    }
}

/// The fields of a struct: a map whose keys are different texts.
fn fields(value: &Pack) -> Option<Vec<(&str, &Pack)>> {
    let map = value.as_map().filter(|map| !map.is_empty())?;
    let fields = map.iter().map(|(key, value)| Some((key.as_str()?, value)));
    let fields: Vec<(&str, &Pack)> = fields.collect::<Option<_>>()?;
    let names: BTreeSet<&str> = fields.iter().map(|(name, _)| *name).collect();
    (names.len() == fields.len()).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(values: &[Pack]) -> Vec<(String, Type)> {
        let mut shape = Shape::default();
        values.iter().for_each(|value| shape.see(value));
        let columns = shape.columns("v", Part::Value).into_iter();
        columns.map(|column| (column.name, column.of)).collect()
    }

    fn one(values: &[Pack]) -> Type {
        let all = shape(values);
        assert_eq!((all.len(), all[0].0.as_str()), (1, "v"));
        all[0].1
    }

    fn record(fields: &[(&str, Pack)]) -> Pack {
        let fields = fields.iter();
        Pack::Map(fields.map(|(k, v)| (Pack::from(*k), v.clone())).collect())
    }

    #[test]
    fn a_column_has_the_type_of_all_its_values() {
        let (big, small) = (Pack::from(u64::MAX), Pack::from(-1));
        for (values, expected) in [
            (vec![Pack::from(true), Pack::Nil], Type::Bool),
            (vec![Pack::from(1), small.clone()], Type::Int),
            (vec![Pack::from(1), big.clone()], Type::UInt),
            (vec![small, big], Type::Json),
            (vec![Pack::from(1), Pack::from(1.5)], Type::Json),
            (vec![Pack::F32(1.5), Pack::from(1.5)], Type::Float),
            (vec![Pack::from("x")], Type::Text),
            (vec![Pack::from("x"), Pack::from(1)], Type::Json),
            (vec![Pack::Binary(vec![0])], Type::Bytes),
            (vec![Pack::Array(vec![])], Type::Json),
            (vec![Pack::Map(vec![])], Type::Json),
            (vec![Pack::Map(vec![(1.into(), 2.into())])], Type::Json),
            (vec![record(&[("a", 1.into())]), Pack::from(1)], Type::Json),
            (vec![Pack::Nil], Type::Text),
            (vec![], Type::Text),
        ] {
            assert_eq!(one(&values), expected, "{values:?}");
        }
    }

    #[test]
    fn a_struct_has_a_column_for_each_field() {
        let first = record(&[("a", 1.into()), ("b", "x".into())]);
        let second = record(&[("c", Pack::Array(vec![])), ("a", Pack::Nil)]);
        let expected = [("v.a", Type::Int), ("v.b", Type::Text), ("v.c", Type::Json)];
        let expected = expected.map(|(name, of)| (name.to_owned(), of));
        assert_eq!(shape(&[first, Pack::Nil, second]), expected);
        let names: Vec<String> = (0..=MAX_FIELDS).map(|n| n.to_string()).collect();
        let many: Vec<(&str, Pack)> = names.iter().map(|n| (n.as_str(), 1.into())).collect();
        assert_eq!(one(&[record(&many)]), Type::Json);
        assert_eq!(shape(&[record(&many[1..])]).len(), MAX_FIELDS);
        let twice = record(&[("a", 1.into()), ("a", 2.into())]);
        assert_eq!(one(&[twice]), Type::Json);
    }
}
