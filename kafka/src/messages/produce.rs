//! `Produce`: batches to append.

use crate::wire::error::{Code, Malformed};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) transaction: Option<&'a str>,
    pub(crate) acks: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) topics: Vec<(&'a str, Vec<Partition<'a>>)>,
}

/// What is to be appended to a partition.
#[derive(Debug)]
pub(crate) struct Partition<'a> {
    pub(crate) index: i32,
    pub(crate) batch: &'a [u8],
}

pub(crate) fn read(version: i16, mut reader: Reader<'_>) -> Result<Request<'_>, Malformed> {
    let transaction = match version {
        3.. => reader.opt_text()?,
        _ => None,
    };
    let (acks, timeout_ms) = (reader.i16()?, reader.i32()?);
    let topics = reader.topics(|reader| {
        Ok(Partition {
            index: reader.i32()?,
            batch: reader.opt_bytes()?.unwrap_or_default(),
        })
    })?;
    reader.end()?;
    Ok(Request {
        transaction,
        acks,
        timeout_ms,
        topics,
    })
}

/// What is told of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) index: i32,
    pub(crate) code: Code,
    pub(crate) base_offset: i64,
    pub(crate) message: Option<String>,
}

impl Told {
    pub(crate) fn refused(index: i32, code: Code, message: impl Into<String>) -> Self {
        Self {
            index,
            code,
            base_offset: -1,
            message: Some(message.into()),
        }
    }
}

pub(crate) fn write(writer: &mut Writer, version: i16, topics: &[(String, Vec<Told>)]) {
    writer.topics(topics, |writer, told| {
        writer.i32(told.index);
        writer.i16(told.code.number());
        writer.i64(told.base_offset);
        if version >= 2 {
            // The time of the records is that of their producer.
            writer.i64(-1);
        }
        if version >= 5 {
            // Where the partition starts is not looked at.
            writer.i64(-1);
        }
        if version >= 8 {
            writer.count(0);
            writer.opt_text(told.message.as_deref());
        }
    });
    if version >= 1 {
        writer.i32(0);
    }
}
