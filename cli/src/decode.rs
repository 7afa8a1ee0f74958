//! MessagePack, as the engine writes it, turned into JSON to look at.

use highwater_log::text;
use rmpv::Value as Pack;
use serde_json::{Map, Number, Value};

/// How deep values may be nested; the engine's are not deep, other people's bytes may be.
const MAX_DEPTH: usize = 128;

/// How the time of a key's last visit begins, which follows a state that has timeouts: an extension
/// of eight bytes of type 1. `docs/format/checkpoint.md` has it.
const LAST_VISIT: [u8; 2] = [0xD7, 0x01];

/// When a key of a state with timeouts was visited last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastVisit {
    /// The state has no timeouts.
    None,
    /// It is of the initial state, and there was no batch yet.
    Never,
    /// In milliseconds since the Unix epoch.
    At(u64),
}

impl LastVisit {
    /// For JSON and tables; `None` if the state has no timeouts.
    pub(crate) fn to_json(self) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Never => Some(Value::Null),
            Self::At(ms) => Some(Value::from(ms)),
        }
    }
}

/// The MessagePack value that fills `bytes` exactly; `None` if that is not what they are.
pub(crate) fn to_value(bytes: &[u8]) -> Option<Pack> {
    let (value, rest) = first_value(bytes)?;
    rest.is_empty().then_some(value)
}

/// As [`to_value`], where the time of a last visit may follow.
pub(crate) fn to_state(bytes: &[u8]) -> Option<(Pack, LastVisit)> {
    let (value, rest) = first_value(bytes)?;
    let last_visit = match rest.split_first_chunk::<2>() {
        None if rest.is_empty() => LastVisit::None,
        Some((&LAST_VISIT, ms)) => match u64::from_be_bytes(ms.try_into().ok()?) {
            u64::MAX => LastVisit::Never,
            ms => LastVisit::At(ms),
        },
        _ => return None,
    };
    Some((value, last_visit))
}

fn first_value(bytes: &[u8]) -> Option<(Pack, &[u8])> {
    let mut rest = bytes;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, MAX_DEPTH).ok()?;
    Some((value, rest))
}

/// Bytes that are the same for all encodings of a value: lengths and numbers as short as they can
/// be, floats in eight bytes, maps in the order of their keys. `None` if `bytes` are no value.
pub(crate) fn canonical(bytes: &[u8]) -> Option<Vec<u8>> {
    let (value, last_visit) = to_state(bytes)?;
    let mut canonical = encode(&sorted(value))?;
    match last_visit {
        LastVisit::None => {}
        LastVisit::Never => canonical.extend([0xff; 9]),
        LastVisit::At(ms) => canonical.extend(ms.to_be_bytes()),
    }
    Some(canonical)
}

/// The bytes of a value.
pub(crate) fn encode(value: &Pack) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).ok()?;
    Some(bytes)
}

fn sorted(value: Pack) -> Pack {
    match value {
        Pack::F32(x) => Pack::F64(f64::from(x)),
        Pack::Array(items) => Pack::Array(items.into_iter().map(sorted).collect()),
        Pack::Map(entries) => {
            let entries = entries.into_iter();
            let mut entries: Vec<(Pack, Pack)> =
                entries.map(|(k, v)| (sorted(k), sorted(v))).collect();
            entries.sort_by_cached_key(|(key, _)| encode(key));
            Pack::Map(entries)
        }
        other => other,
    }
}

/// The JSON of one MessagePack value that fills `bytes` exactly; `None` if that is not what they
/// are.
pub(crate) fn to_json(bytes: &[u8]) -> Option<Value> {
    to_value(bytes).map(|value| json(&value))
}

/// The JSON of one MessagePack value, or a string of the bytes in base64 if they are none.
pub(crate) fn to_json_or_base64(bytes: &[u8]) -> Value {
    to_json(bytes).unwrap_or_else(|| json(&Pack::Binary(bytes.to_vec())))
}

/// A value as JSON; bytes in base64.
pub(crate) fn json(value: &Pack) -> Value {
    match value {
        Pack::Nil => Value::Null,
        Pack::Boolean(b) => Value::Bool(*b),
        Pack::Integer(n) => integer(*n),
        Pack::F32(x) => float(f64::from(*x)),
        Pack::F64(x) => float(*x),
        Pack::String(s) => match s.as_str() {
            Some(text) => Value::String(text.to_owned()),
            None => Value::String(format!("base64:{}", text::base64(s.as_bytes()))),
        },
        Pack::Binary(bytes) => Value::String(format!("base64:{}", text::base64(bytes))),
        Pack::Array(items) => Value::Array(items.iter().map(json).collect()),
        Pack::Map(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|(key, value)| (key_text(key), json(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Pack::Ext(kind, bytes) => {
            Value::String(format!("ext {kind}, base64:{}", text::base64(bytes)))
        }
    }
}

/// JSON has text keys only.
fn key_text(key: &Pack) -> String {
    match json(key) {
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

    fn stamped(state: &[u8], ms: u64) -> Vec<u8> {
        [state, &LAST_VISIT, &ms.to_be_bytes()].concat()
    }

    #[test]
    fn the_time_of_a_last_visit_is_no_part_of_the_value() {
        let state = [0x92, 0x01, 0x02];
        let pack = to_value(&state).unwrap();
        for (bytes, expected) in [
            (state.to_vec(), LastVisit::None),
            (stamped(&state, 5), LastVisit::At(5)),
            (stamped(&state, u64::MAX), LastVisit::Never),
        ] {
            assert_eq!(to_state(&bytes), Some((pack.clone(), expected)));
        }
        let whole = stamped(&state, 5);
        for cut in state.len() + 1..whole.len() {
            assert_eq!(to_state(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(to_state(&[whole, vec![0]].concat()), None);
        assert_eq!(to_state(&[0x01, 0x02]), None, "two values");
        // A state may be such an extension itself.
        let itself = stamped(&[], 7);
        assert_eq!(to_state(&itself).unwrap().1, LastVisit::None);
    }

    #[test]
    fn encodings_of_a_value_are_alike() {
        // {"a": 1, "b": 2}, in either order; 1 in one byte, or in five.
        let one = [0x82, 0xa1, b'a', 0x01, 0xa1, b'b', 0x02];
        let other = [0x82, 0xa1, b'b', 0x02, 0xa1, b'a', 0xce, 0, 0, 0, 1];
        assert_eq!(canonical(&one), canonical(&other));
        assert!(canonical(&one).is_some());
        let float = [&[0xca][..], &1.5_f32.to_be_bytes()].concat();
        let double = [&[0xcb][..], &1.5_f64.to_be_bytes()].concat();
        assert_eq!(canonical(&float), canonical(&double));
        let times = [None, Some(1), Some(2), Some(u64::MAX)];
        let all = times.map(|ms| match ms {
            None => canonical(&one).unwrap(),
            Some(ms) => canonical(&stamped(&one, ms)).unwrap(),
        });
        for (at, a) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|b| a != b), "{at}");
        }
        assert_eq!(canonical(&[0x81]), None);
    }
}
