//! `ListOffsets`: offsets by time.

use crate::wire::error::{Code, Malformed};
use crate::wire::reader::{Reader, owned};
use crate::wire::writer::Writer;

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// The first one.
    Earliest,
    /// The one that comes next.
    Latest,
    /// The first one from then on, in milliseconds since the Unix epoch.
    At(u64),
    /// What this version does not know.
    Unknown,
}

impl Time {
    fn of(timestamp: i64) -> Self {
        match timestamp {
            -1 => Self::Latest,
            -2 => Self::Earliest,
            other => u64::try_from(other).map_or(Self::Unknown, Self::At),
        }
    }
}

/// Topics, and of each the partitions and what is asked of them.
pub(crate) type Request = Vec<(String, Vec<(i32, Time)>)>;

pub(crate) fn read(version: i16, mut reader: Reader<'_>) -> Result<Request, Malformed> {
    reader.i32()?;
    if version >= 2 {
        reader.i8()?;
    }
    let topics = reader.topics(|reader| {
        let index = reader.i32()?;
        if version >= 4 {
            reader.i32()?;
        }
        Ok((index, Time::of(reader.i64()?)))
    })?;
    reader.end()?;
    Ok(owned(topics))
}

/// What is told of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) index: i32,
    pub(crate) code: Code,
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
}

pub(crate) fn write(writer: &mut Writer, version: i16, topics: &[(String, Vec<Told>)]) {
    if version >= 2 {
        writer.i32(0);
    }
    writer.topics(topics, |writer, told| {
        writer.i32(told.index);
        writer.i16(told.code.number());
        writer.i64(told.timestamp);
        writer.i64(told.offset);
        if version >= 4 {
            writer.i32(0);
        }
    });
}
