//! `Metadata`: topics, partitions and where they are.

use crate::wire::error::{Code, Malformed};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// The only server there is.
pub(crate) const NODE: i32 = 0;

/// "Not asked for."
const NO_OPERATIONS: i32 = i32::MIN;

#[derive(Debug)]
pub(crate) struct Request {
    /// `None` asks for all.
    pub(crate) topics: Option<Vec<String>>,
    pub(crate) may_create: bool,
}

pub(crate) fn read(version: i16, mut reader: Reader<'_>) -> Result<Request, Malformed> {
    let topics = match reader.opt_count()? {
        None => None,
        Some(0) if version == 0 => None,
        Some(count) => {
            let mut topics = Vec::new();
            for _ in 0..count {
                topics.push(reader.text()?.to_owned());
                reader.end_struct()?;
            }
            Some(topics)
        }
    };
    let may_create = if version >= 4 { reader.bool()? } else { true };
    if version >= 8 {
        reader.bool()?;
        reader.bool()?;
    }
    reader.end()?;
    Ok(Request { topics, may_create })
}

/// What is told.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) cluster: &'a str,
    pub(crate) topics: Vec<Topic>,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) code: Code,
    pub(crate) name: String,
    pub(crate) partitions: i32,
}

pub(crate) fn write(writer: &mut Writer, version: i16, answer: &Answer<'_>) {
    if version >= 3 {
        writer.i32(0);
    }
    writer.count(1);
    writer.i32(NODE);
    writer.text(answer.host);
    writer.i32(answer.port.into());
    if version >= 1 {
        writer.opt_text(None);
    }
    writer.end_struct();
    if version >= 2 {
        writer.opt_text(Some(answer.cluster));
    }
    if version >= 1 {
        // Some producers ask the controller for their id.
        writer.i32(NODE);
    }
    writer.count(answer.topics.len());
    for topic in &answer.topics {
        write_topic(writer, version, topic);
    }
    if version >= 8 {
        writer.i32(NO_OPERATIONS);
    }
}

fn write_topic(writer: &mut Writer, version: i16, topic: &Topic) {
    writer.i16(topic.code.number());
    writer.text(&topic.name);
    if version >= 1 {
        writer.bool(false);
    }
    writer.count(usize::try_from(topic.partitions).unwrap_or(0));
    for index in 0..topic.partitions {
        writer.i16(Code::None.number());
        writer.i32(index);
        writer.i32(NODE);
        if version >= 7 {
            writer.i32(0);
        }
        // Replicas, and those in sync.
        for _ in 0..2 {
            writer.count(1);
            writer.i32(NODE);
        }
        if version >= 5 {
            writer.count(0);
        }
        writer.end_struct();
    }
    if version >= 8 {
        writer.i32(NO_OPERATIONS);
    }
    writer.end_struct();
}
