//! `Fetch`: reading.

use crate::wire::error::{Code, Malformed};
use crate::wire::reader::{Reader, owned};
use crate::wire::writer::Writer;

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) max_wait_ms: i32,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) topics: Vec<(String, Vec<Partition>)>,
}

/// What is asked of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) index: i32,
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
}

pub(crate) fn read(version: i16, mut reader: Reader<'_>) -> Result<Request, Malformed> {
    reader.i32()?;
    let (max_wait_ms, min_bytes, max_bytes) = (reader.i32()?, reader.i32()?, reader.i32()?);
    reader.i8()?;
    if version >= 7 {
        // Sessions are not offered: each request says all.
        reader.i32()?;
        reader.i32()?;
    }
    let topics = reader.topics(|reader| partition(version, reader))?;
    if version >= 7 {
        for _ in 0..reader.count()? {
            reader.text()?;
            for _ in 0..reader.count()? {
                reader.i32()?;
            }
            reader.end_struct()?;
        }
    }
    if version >= 11 {
        reader.text()?;
    }
    reader.end()?;
    Ok(Request {
        max_wait_ms,
        min_bytes,
        max_bytes,
        topics: owned(topics),
    })
}

fn partition(version: i16, reader: &mut Reader<'_>) -> Result<Partition, Malformed> {
    let index = reader.i32()?;
    if version >= 9 {
        reader.i32()?;
    }
    let offset = reader.i64()?;
    if version >= 12 {
        reader.i32()?;
    }
    if version >= 5 {
        reader.i64()?;
    }
    let max_bytes = reader.i32()?;
    Ok(Partition {
        index,
        offset,
        max_bytes,
    })
}

/// What is told of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) index: i32,
    pub(crate) code: Code,
    /// Where the partition ends.
    pub(crate) end: i64,
    /// Where it starts.
    pub(crate) start: i64,
    /// A batch, or nothing.
    pub(crate) batch: Vec<u8>,
}

pub(crate) fn write(writer: &mut Writer, version: i16, topics: &[(String, Vec<Told>)]) {
    writer.i32(0);
    if version >= 7 {
        writer.i16(Code::None.number());
        writer.i32(0);
    }
    writer.topics(topics, |writer, told| {
        writer.i32(told.index);
        writer.i16(told.code.number());
        writer.i64(told.end);
        writer.i64(told.end);
        if version >= 5 {
            writer.i64(told.start);
        }
        // No transactions were given up, since there are none.
        writer.no_list();
        if version >= 11 {
            writer.i32(-1);
        }
        writer.opt_bytes(Some(&told.batch));
    });
}
