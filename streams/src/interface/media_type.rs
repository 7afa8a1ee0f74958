//! Content types, as far as streams look at them.

/// The content type without parameters.
fn essence(content_type: &str) -> &str {
    let essence = content_type.split(';').next();
    essence.unwrap_or_default().trim()
}

/// Whether two content types are the same: without case, and without parameters.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    essence(one).eq_ignore_ascii_case(essence(other))
}

/// The content type of streams of [records](crate::RecordRef): messages with a key, headers and a
/// time of their own, as Kafka clients send them.
pub const RECORDS: &str = "application/vnd.highwater.records";

/// Whether a stream of this content type has records.
///
/// ```
/// assert!(highwater_streams::is_records(highwater_streams::RECORDS));
/// ```
#[must_use]
pub fn is_records(content_type: &str) -> bool {
    is_same(content_type, RECORDS)
}

/// Whether positions of a stream of this content type count messages, and not bytes.
pub(crate) fn counts_messages(content_type: &str) -> bool {
    is_json(content_type) || is_records(content_type)
}

/// Whether a stream of this content type has JSON messages, and not bytes.
///
/// ```
/// assert!(highwater_streams::is_json("application/JSON; charset=utf-8"));
/// assert!(!highwater_streams::is_json("text/plain"));
/// ```
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    is_same(content_type, "application/json")
}
