//! What an engine writes into its log, turned into JSON to look at: `docs/format/engine.md` has the
//! bytes.

use crate::decode::to_json;
use highwater_log::text;
use serde_json::{Map, Value, json};

/// The version that is written today. Records of version 1 have no version byte.
const VERSION: u8 = 2;

const HAS_PRODUCER: u8 = 1;
const HAS_KEY: u8 = 2;
const HAS_STREAM_SEQUENCE: u8 = 4;

/// A control record of stream 0; `None` if it is none, or of a newer version.
pub(crate) fn control(payload: &[u8]) -> Option<Value> {
    match payload.split_first() {
        Some((&VERSION, map)) => to_json(map),
        _ => to_json(payload),
    }
    .filter(Value::is_object)
}

/// The first record of a source's frame; `None` if it is none, or of a newer version.
pub(crate) fn envelope(record: &[u8]) -> Option<Value> {
    match record.split_first() {
        Some((&VERSION, rest)) => envelope_2(rest),
        _ => to_json(record),
    }
}

fn envelope_2(mut rest: &[u8]) -> Option<Value> {
    let [kind, flags, _] = array(&mut rest)?;
    let kinds = ["data", "create", "close", "delete", "moved", "reserve"];
    let mut fields = Map::new();
    let mut field = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    field("kind", json!(*kinds.get(usize::from(kind))?));
    field("count", json!(u32::from_le_bytes(array(&mut rest)?)));
    for name in ["first", "received_ms", "stream"] {
        field(name, json!(number(&mut rest)?));
    }
    if flags & HAS_PRODUCER != 0 {
        field("epoch", json!(number(&mut rest)?));
        field("sequence", json!(number(&mut rest)?));
        let producer = std::str::from_utf8(bytes(&mut rest)?).ok()?;
        field("producer", json!(producer));
    }
    if flags & HAS_KEY != 0 {
        let hash: [u8; 16] = array(&mut rest)?;
        field("body_hash", json!(text::hex(&hash)));
        field("key_base64", json!(text::base64(bytes(&mut rest)?)));
    }
    if flags & HAS_STREAM_SEQUENCE != 0 {
        let sequence = text::base64(bytes(&mut rest)?);
        field("stream_sequence_base64", json!(sequence));
    }
    rest.is_empty().then_some(Value::Object(fields))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*array)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    array(rest).map(u64::from_le_bytes)
}

/// A length of two bytes, and so many bytes.
fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u16::from_le_bytes(array(rest)?);
    let (bytes, tail) = rest.split_at_checked(usize::from(len))?;
    *rest = tail;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_records_of_both_versions_are_shown() {
        let map = [0x81, 0xa3, b'C', b'u', b't', 0x81, 0xa1, b'a', 0x01];
        let expected = Some(json!({"Cut": {"a": 1}}));
        assert_eq!(control(&map), expected);
        assert_eq!(control(&[&[2], &map[..]].concat()), expected);
        assert_eq!(control(&[&[3], &map[..]].concat()), None);
        assert_eq!(control(&[7]), None, "a number is no record");
    }

    #[test]
    fn envelopes_of_both_versions_are_shown() {
        let old = [0x81, 0xa1, b'p', 0xa1, b'x'];
        assert_eq!(envelope(&old), Some(json!({"p": "x"})));
        let mut new = vec![2, 0, HAS_PRODUCER, 0, 3, 0, 0, 0];
        for number in [70_u64, 1_700_000_000_000, 0, 5, 9] {
            new.extend(number.to_le_bytes());
        }
        new.extend([2, 0, b'm', b'e']);
        let expected = json!({
            "kind": "data", "count": 3, "first": 70, "received_ms": 1_700_000_000_000_u64,
            "stream": 0, "epoch": 5, "sequence": 9, "producer": "me",
        });
        assert_eq!(envelope(&new), Some(expected));
        for cut in 1..new.len() {
            assert_eq!(envelope(new.get(..cut).unwrap()), None, "cut at {cut}");
        }
        new.push(0);
        assert_eq!(envelope(&new), None, "a byte is left over");
    }
}
