//! The records of a batch, one by one.

use crate::batch::refused::Refused;
use crate::batch::varint::{Bytes, put};
use highwater_streams::RecordRef;

/// What all records of a batch share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base {
    pub(crate) count: u64,
    /// The time of the first record; `None` if all have the same one.
    pub(crate) timestamp: i64,
    pub(crate) same_timestamp: Option<i64>,
}

/// No time is known.
const NO_TIMESTAMP: i64 = -1;

/// Calls `each` with every record of a batch.
///
/// # Errors
/// If they are not the records that the batch says it has; those of `each`.
pub(crate) fn each_record(
    records: &[u8],
    base: Base,
    mut each: impl FnMut(&RecordRef<'_>) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut bytes = Bytes(records);
    for index in 0..base.count {
        let record = bytes.number().and_then(|len| bytes.take(len));
        let record = record.ok_or_else(|| Refused::corrupt("it has fewer records than it says"))?;
        each(&read(record, index, &base)?)?;
    }
    match bytes.0 {
        [] => Ok(()),
        _ => Err(Refused::corrupt("it has more records than it says")),
    }
}

fn read<'a>(record: &'a [u8], index: u64, base: &Base) -> Result<RecordRef<'a>, Refused> {
    let damaged = || Refused::corrupt(format!("record {index} is damaged"));
    let mut bytes = Bytes(record);
    let [_attributes] = bytes.array().ok_or_else(damaged)?;
    let later = bytes.number().ok_or_else(damaged)?;
    let offset = bytes.number().ok_or_else(damaged)?;
    if u64::try_from(offset) != Ok(index) {
        return Err(Refused::invalid(format!(
            "record {index} says that it is record {offset}"
        )));
    }
    let key = bytes.opt_bytes().ok_or_else(damaged)?;
    let value = bytes.opt_bytes().ok_or_else(damaged)?;
    let count = bytes.number().ok_or_else(damaged)?;
    let mut headers = Vec::new();
    for _ in 0..u64::try_from(count).map_err(|_| damaged())? {
        let name = bytes.opt_bytes().flatten().ok_or_else(damaged)?;
        let name = std::str::from_utf8(name).map_err(|_| {
            Refused::invalid(format!(
                "record {index} has a header whose name is not UTF-8"
            ))
        })?;
        headers.push((name, bytes.opt_bytes().ok_or_else(damaged)?));
    }
    if !bytes.0.is_empty() {
        return Err(damaged());
    }
    let timestamp = match base.same_timestamp {
        Some(same) => same,
        None => base.timestamp.checked_add(later).ok_or_else(damaged)?,
    };
    Ok(RecordRef {
        key,
        value,
        timestamp_ms: (timestamp != NO_TIMESTAMP).then_some(timestamp),
        headers,
    })
}

/// Appends a record: the one with this index, in a batch whose first one has this time.
pub(crate) fn write(
    out: &mut Vec<u8>,
    record: &RecordRef<'_>,
    index: i64,
    timestamp: i64,
    scratch: &mut Vec<u8>,
) {
    scratch.clear();
    scratch.push(0);
    let own = record.timestamp_ms.unwrap_or(NO_TIMESTAMP);
    put(scratch, own.wrapping_sub(timestamp));
    put(scratch, index);
    for part in [record.key, record.value] {
        put_opt_bytes(scratch, part);
    }
    put(scratch, len(record.headers.len()));
    for (name, value) in &record.headers {
        put_opt_bytes(scratch, Some(name.as_bytes()));
        put_opt_bytes(scratch, *value);
    }
    put(out, len(scratch.len()));
    out.extend_from_slice(scratch);
}

fn len(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

fn put_opt_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put(out, bytes.map_or(-1, |bytes| len(bytes.len())));
    out.extend_from_slice(bytes.unwrap_or_default());
}
