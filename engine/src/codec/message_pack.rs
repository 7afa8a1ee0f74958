//! The default codec of state and typed input: MessagePack with named fields. A struct may gain a
//! field (`#[serde(default)]`) or lose one, and old bytes still load. Other compact formats refuse
//! that.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

/// Name of the codec as checkpoints have it.
pub(crate) const NAME: &str = "msgpack-named";

/// Encodes `value`, appending to `out`.
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), rmp_serde::encode::Error> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    value.serialize(&mut serializer)
}

/// Encodes `value`.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Decodes a value that fills `bytes` exactly.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    // From the slice itself: a reader would copy every string, and take memory for each value.
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = T::deserialize(&mut deserializer).map_err(|e| e.to_string())?;
    match <()>::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(too_long(bytes)),
    }
}

/// Decodes as [`decode`] does, and calls `ignored` with the path of every field that the type does
/// not have.
pub(crate) fn decode_noting<T: DeserializeOwned>(
    bytes: &[u8],
    ignored: &mut dyn FnMut(String),
) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    let value: T = serde_ignored::deserialize(&mut deserializer, |path| ignored(path.to_string()))
        .map_err(|e| e.to_string())?;
    match <()>::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(too_long(bytes)),
    }
}

/// What is wrong with `bytes`, which begin with a value.
fn too_long(bytes: &[u8]) -> String {
    let mut deserializer = rmp_serde::Deserializer::new(bytes);
    let left = IgnoredAny::deserialize(&mut deserializer).map(|_| deserializer.get_ref().len());
    format!("{} bytes are left after the value", left.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize)]
    struct Old {
        clicks: u32,
        gone: String,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    struct New {
        clicks: u64,
        #[serde(default)]
        added: bool,
    }

    #[test]
    fn what_is_left_after_a_value_is_counted() {
        let bytes = [encode(&("a", 7_u8)).unwrap(), vec![1, 2, 3]].concat();
        let told = Err("3 bytes are left after the value".to_owned());
        assert_eq!(decode::<(String, u8)>(&bytes), told);
        assert_eq!(decode_noting(&bytes, &mut |_| {}), told);
    }

    #[test]
    fn a_struct_may_gain_and_lose_fields() {
        let bytes = encode(&Old {
            clicks: 7,
            gone: "x".into(),
        })
        .unwrap();
        assert_eq!(
            decode::<New>(&bytes).unwrap(),
            New {
                clicks: 7,
                added: false
            }
        );
    }

    /// What is left may be a value, the beginning of one, or nothing that begins one.
    #[test]
    fn trailing_bytes_are_an_error() {
        for left in [
            &[0][..],
            &[0x91],
            &[0xC0],
            &[0xC1],
            &[0xA5, b'a'],
            &[0xDB],
            &[0xC7, 8, 1],
        ] {
            let mut bytes = encode(&1_u64).unwrap();
            bytes.extend_from_slice(left);
            let expected = format!("{} bytes are left", left.len());
            let error = decode::<u64>(&bytes).unwrap_err();
            assert!(error.contains(&expected), "{error}");
            let error = decode_noting::<u64>(&bytes, &mut |_| ()).unwrap_err();
            assert!(error.contains(&expected), "{error}");
        }
    }
}
