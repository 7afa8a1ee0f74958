//! Entries as Parquet: typed columns, in groups of rows.

use crate::checkpoint::state::columns::{Cell, Column, Columns, Type};
use crate::checkpoint::state::selection::{Selection, Told};
use crate::fail::OrFail;
use highwater_log::outcome::{Failure, Result};
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type as Schema;
use std::io::Write;
use std::sync::Arc;

/// A group of rows is written when it has so many, or when its values have so many bytes. One is
/// held in memory.
const MAX_ROWS: usize = 100_000;
const MAX_BYTES: usize = 32 << 20;

/// Writes the file.
pub(super) fn write<W: Write + Send>(
    selection: &Selection<'_>,
    columns: &Columns,
    to: W,
) -> Result<Told> {
    let mut rows = Rows::new(columns)?;
    let properties = Arc::new(WriterProperties::builder().build());
    let schema = Arc::clone(&rows.schema);
    let mut file = SerializedFileWriter::new(to, schema, properties).or_fail()?;
    let told = selection.each(|entry| {
        rows.push(columns.cells(entry))?;
        match rows.is_full() {
            true => rows.write(&mut file),
            false => Ok(()),
        }
    })?;
    rows.write(&mut file)?;
    file.close().or_fail()?;
    Ok(told)
}

impl<T> OrFail<T> for std::result::Result<T, ParquetError> {
    fn or_fail(self) -> Result<T> {
        self.map_err(|error| Failure::Io(format!("cannot write Parquet: {error}")))
    }
}

/// Rows that wait to be written.
struct Rows {
    schema: Arc<Schema>,
    columns: Vec<Values>,
    /// For each column and row whether there is a value (1) or not (0).
    levels: Vec<Vec<i16>>,
    rows: usize,
    bytes: usize,
}

/// The values of a column that are not null.
enum Values {
    Bool(Vec<bool>),
    /// Unsigned ones too: as the same bits.
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

impl Rows {
    fn new(columns: &Columns) -> Result<Self> {
        let fields = columns.all.iter().map(field).collect::<Result<Vec<_>>>()?;
        let schema = Schema::group_type_builder("state").with_fields(fields);
        Ok(Self {
            schema: Arc::new(schema.build().or_fail()?),
            columns: columns.all.iter().map(|c| Values::of(c.of)).collect(),
            levels: vec![Vec::new(); columns.all.len()],
            rows: 0,
            bytes: 0,
        })
    }

    fn push<'a>(&mut self, cells: impl Iterator<Item = Cell<'a>>) -> Result<()> {
        let places = self.columns.iter_mut().zip(&mut self.levels);
        for ((values, levels), cell) in places.zip(cells) {
            let is_null = cell == Cell::Null;
            self.bytes += 16;
            self.bytes += values.push(cell)?;
            levels.push(i16::from(!is_null));
        }
        self.rows += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    /// Writes what waits as a group of rows.
    fn write<W: Write + Send>(&mut self, file: &mut SerializedFileWriter<W>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = file.next_row_group().or_fail()?;
        for (values, levels) in self.columns.iter_mut().zip(&mut self.levels) {
            let column = group.next_column().or_fail()?;
            let column = column.ok_or_else(|| {
                Failure::Io("cannot write Parquet: a column is missing in its schema".to_owned())
            })?;
            values.write(column, levels)?;
            levels.clear();
        }
        group.close().or_fail()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

/// A column in the schema. Every one may be null.
fn field(column: &Column) -> Result<Arc<Schema>> {
    let (physical, logical) = match column.of {
        Type::Bool => (Physical::BOOLEAN, None),
        Type::Int => (Physical::INT64, None),
        Type::UInt => (Physical::INT64, Some(LogicalType::integer(64, false))),
        Type::Float => (Physical::DOUBLE, None),
        Type::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Type::Json => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Type::Bytes => (Physical::BYTE_ARRAY, None),
    };
    let field = Schema::primitive_type_builder(&column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    Ok(Arc::new(field.build().or_fail()?))
}

impl Values {
    fn of(of: Type) -> Self {
        match of {
            Type::Bool => Self::Bool(Vec::new()),
            Type::Int | Type::UInt => Self::Int(Vec::new()),
            Type::Float => Self::Float(Vec::new()),
            Type::Text | Type::Json | Type::Bytes => Self::Bytes(Vec::new()),
        }
    }

    /// Adds a value, if it is none that is null; how many bytes more that takes.
    fn push(&mut self, cell: Cell<'_>) -> Result<usize> {
        match (self, cell) {
            (_, Cell::Null) => Ok(0),
            (Self::Bool(all), Cell::Bool(value)) => added(all, value, 0),
            (Self::Int(all), Cell::Int(value)) => added(all, value, 0),
            (Self::Int(all), Cell::UInt(value)) => added(all, value.cast_signed(), 0),
            (Self::Float(all), Cell::Float(value)) => added(all, value, 0),
            (Self::Bytes(all), Cell::Text(text)) => {
                let len = text.len();
                added(all, ByteArray::from(text.into_owned().into_bytes()), len)
            }
            (Self::Bytes(all), Cell::Bytes(bytes)) => {
                added(all, ByteArray::from(bytes.to_vec()), bytes.len())
            }
            (_, cell) => Err(Failure::Io(format!(
                "the state has changed while it was read: {cell:?} is of another type than its column"
            ))),
        }
    }

    fn write(&mut self, column: SerializedColumnWriter<'_>, levels: &[i16]) -> Result<()> {
        match self {
            Self::Bool(all) => write_column::<BoolType>(column, all, levels),
            Self::Int(all) => write_column::<Int64Type>(column, all, levels),
            Self::Float(all) => write_column::<DoubleType>(column, all, levels),
            Self::Bytes(all) => write_column::<ByteArrayType>(column, all, levels),
        }
    }
}

fn added<T>(all: &mut Vec<T>, value: T, bytes: usize) -> Result<usize> {
    all.push(value);
    Ok(bytes)
}

fn write_column<T: DataType>(
    mut column: SerializedColumnWriter<'_>,
    values: &mut Vec<T::T>,
    levels: &[i16],
) -> Result<()> {
    let typed = column.typed::<T>();
    let written = typed.write_batch(values, Some(levels), None);
    written.or_fail()?;
    values.clear();
    column.close().or_fail()
}
