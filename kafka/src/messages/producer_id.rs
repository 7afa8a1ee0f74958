//! `InitProducerId`: an id for a producer.

use crate::wire::error::{Code, Malformed};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// Whether the request is one for a transaction.
pub(crate) fn read(version: i16, mut reader: Reader<'_>) -> Result<bool, Malformed> {
    let transaction = reader.opt_text()?;
    reader.i32()?;
    if version >= 3 {
        // The id and epoch that it had: a producer without transactions gets a new one.
        reader.i64()?;
        reader.i16()?;
    }
    reader.end()?;
    Ok(transaction.is_some())
}

pub(crate) fn write(writer: &mut Writer, told: Result<i64, Code>) {
    writer.i32(0);
    writer.i16(told.map_or_else(Code::number, |_| Code::None.number()));
    writer.i64(told.unwrap_or(-1));
    writer.i16(if told.is_ok() { 0 } else { -1 });
}
