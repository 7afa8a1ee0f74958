//! `ApiVersions`: what is offered.

use crate::wire::error::{Code, Malformed};
use crate::wire::header::{Head, OFFERED};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// Reads a request. What it says of the client's software is for nothing.
pub(crate) fn read(head: Head, mut reader: Reader<'_>) -> Result<(), Malformed> {
    if head.version >= 3 {
        reader.text()?;
        reader.text()?;
    }
    reader.end()
}

/// The answer: what is offered.
pub(crate) fn write(writer: &mut Writer, version: i16) {
    write_code(writer, version, Code::None);
}

fn write_code(writer: &mut Writer, version: i16, code: Code) {
    writer.i16(code.number());
    writer.count(OFFERED.len());
    for offer in &OFFERED {
        writer.i16(offer.key);
        writer.i16(offer.from);
        writer.i16(offer.to);
        writer.end_struct();
    }
    if version >= 1 {
        writer.i32(0);
    }
}

/// The answer to a version that is not offered: that of version 0, which every client reads.
pub(crate) fn unknown(head: Head) -> Vec<u8> {
    let mut writer = Writer::new(false);
    writer.i32(head.correlation);
    write_code(&mut writer, 0, Code::UnsupportedVersion);
    writer.finish()
}
