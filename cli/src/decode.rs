//! MessagePack, as the engine writes it, turned into JSON to look at.

use crate::text;
use rmpv::Value as Pack;
use serde_json::{Map, Number, Value};

/// How deep values may be nested; the engine's are not deep, other people's bytes may be.
const MAX_DEPTH: usize = 128;

/// The JSON of one MessagePack value that fills `bytes` exactly; `None` if that is not what they
/// are.
pub(crate) fn to_json(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, MAX_DEPTH).ok()?;
    rest.is_empty().then(|| convert(value))
}

/// The JSON of one MessagePack value, or a string of the bytes in base64 if they are none.
pub(crate) fn to_json_or_base64(bytes: &[u8]) -> Value {
    to_json(bytes).unwrap_or_else(|| Value::String(format!("base64:{}", text::base64(bytes))))
}

fn convert(value: Pack) -> Value {
    match value {
        Pack::Nil => Value::Null,
        Pack::Boolean(b) => Value::Bool(b),
        Pack::Integer(n) => integer(n),
        Pack::F32(x) => float(f64::from(x)),
        Pack::F64(x) => float(x),
        Pack::String(s) => Value::String(s.into_str().unwrap_or_else(|| "(not UTF-8)".to_owned())),
        Pack::Binary(bytes) => Value::String(format!("base64:{}", text::base64(&bytes))),
        Pack::Array(items) => Value::Array(items.into_iter().map(convert).collect()),
        Pack::Map(entries) => {
            let entries = entries
                .into_iter()
                .map(|(key, value)| (key_text(key), convert(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Pack::Ext(kind, bytes) => {
            Value::String(format!("ext {kind}, base64:{}", text::base64(&bytes)))
        }
    }
}

/// JSON has text keys only.
fn key_text(key: Pack) -> String {
    match convert(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn integer(n: rmpv::Integer) -> Value {
    let number = n
        .as_u64()
        .map(Number::from)
        .or_else(|| n.as_i64().map(Number::from));
    number.map_or(Value::Null, Value::Number)
}

fn float(x: f64) -> Value {
    Number::from_f64(x).map_or_else(|| Value::String(x.to_string()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_become_json() {
        // {"a": [1, -1, nil, "x"]}
        let bytes = [0x81, 0xa1, b'a', 0x94, 0x01, 0xff, 0xc0, 0xa1, b'x'];
        assert_eq!(to_json(&bytes), Some(json!({"a": [1, -1, null, "x"]})));
    }

    #[test]
    fn other_bytes_are_told_apart() {
        assert_eq!(to_json(b""), None);
        assert_eq!(to_json(b"two values"), None);
        assert_eq!(to_json_or_base64(&[0x81]), json!("base64:gQ=="));
        assert_eq!(to_json(&[0x91; 10_000]), None, "nested too deeply");
        assert_eq!(
            to_json(&[0xdd, 0xff, 0xff, 0xff, 0xff]),
            None,
            "four billion items announced"
        );
    }
}
