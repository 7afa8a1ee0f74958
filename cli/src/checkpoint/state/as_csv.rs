//! Entries as CSV: a header, then a row for each.

use crate::checkpoint::state::columns::{Cell, Columns};
use crate::checkpoint::state::selection::{Selection, Told};
use highwater_log::outcome::{Failure, Result};
use highwater_log::output::{self, Output};
use highwater_log::text;

pub(super) fn write(
    selection: &Selection<'_>,
    columns: &Columns,
    out: &mut Output,
) -> Result<Told> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(columns.names()).map_err(failure)?;
    let told = selection.each(|entry| {
        for cell in columns.cells(entry) {
            let field = match cell {
                Cell::Null => String::new(),
                Cell::Bool(b) => b.to_string(),
                Cell::Int(n) => n.to_string(),
                Cell::UInt(n) => n.to_string(),
                Cell::Float(x) => x.to_string(),
                Cell::Text(text) => text.into_owned(),
                Cell::Bytes(bytes) => format!("base64:{}", text::base64(bytes)),
            };
            csv.write_field(field).map_err(failure)?;
        }
        csv.write_record(None::<&[u8]>).map_err(failure)
    })?;
    csv.flush().map_err(|e| failure(e.into()))?;
    Ok(told)
}

fn failure(error: csv::Error) -> Failure {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => output::failure(&error),
        other => Failure::Io(format!("cannot write CSV: {other:?}")),
    }
}
