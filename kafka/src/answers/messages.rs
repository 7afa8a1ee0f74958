//! The records of a batch as messages of a stream, and back.

use crate::batch::read::Batch;
use crate::batch::refused::Refused;
use crate::batch::write;
use highwater_streams::{Page, RecordRef, is_json, json_message};

/// The messages of a batch, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    data: Vec<u8>,
    /// Where each one ends.
    ends: Vec<usize>,
}

impl Messages {
    /// For a stream of this type: records as they are; of JSON messages, the values.
    ///
    /// # Errors
    /// If the batch is damaged; if a record has what a JSON message has no place for.
    pub(crate) fn of(batch: &Batch<'_>, content_type: &str) -> Result<Self, Refused> {
        let mut all = Self::default();
        let is_json = is_json(content_type);
        batch.each(|record| {
            match is_json {
                true => all.data.extend_from_slice(json_of(record)?),
                false => record.encode_into(&mut all.data),
            }
            all.ends.push(all.data.len());
            Ok(())
        })?;
        Ok(all)
    }

    pub(crate) fn each(&self) -> Vec<&[u8]> {
        let mut begin = 0;
        let each = self.ends.iter().map(|end| {
            let message = self.data.get(begin..*end).unwrap_or_default();
            begin = *end;
            message
        });
        each.collect()
    }
}

fn json_of<'r>(record: &RecordRef<'r>) -> Result<&'r [u8], Refused> {
    if record.key.is_some() || !record.headers.is_empty() {
        return Err(Refused::invalid(
            "the topic is a stream of JSON messages, which have no keys and no headers: send records without them, or \
             create the topic with the content type application/vnd.highwater.records",
        ));
    }
    let value = record.value.ok_or_else(|| {
        Refused::invalid("the topic is a stream of JSON messages, and a record has no value")
    })?;
    json_message(value).map_err(|error| Refused::invalid(error.to_string()))
}

/// A page of a stream as a batch. `None` if a message is no record, which this version never
/// writes.
pub(crate) fn batch_of(page: &Page) -> Option<Vec<u8>> {
    let first = page.from.get();
    if page.stream.is_json {
        let records = page.pieces().zip(&page.received_ms);
        let records = records.map(|(message, received_ms)| RecordRef {
            value: Some(message),
            timestamp_ms: i64::try_from(*received_ms).ok(),
            ..RecordRef::default()
        });
        return Some(write::batch(first, records));
    }
    let mut is_sound = true;
    let records = page.pieces().map_while(|message| {
        let record = RecordRef::decode(message);
        is_sound &= record.is_some();
        record
    });
    let batch = write::batch(first, records);
    is_sound.then_some(batch)
}
